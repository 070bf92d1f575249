//! Lists in pages of a hundred, and the tokens that lead from one to the next.

use super::{ApiRequest, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

/// Entries of one page.
const LIMIT: u16 = 100;

/// The token that leads to a page: its size and its number, in the original's binary form.
fn encode(page: u16) -> String {
    let ([a, b], [c, d]) = (LIMIT.to_le_bytes(), page.to_le_bytes());
    URL_SAFE.encode([a, b, c, d])
}

/// The page that is asked for, from 1.
fn asked(request: &ApiRequest) -> Result<u16, Refusal> {
    let refuse = |text: String| (400, text);
    let mut tokens = request.values("nextPageToken");
    let Some(token) = tokens.next() else { return Ok(1) };
    if tokens.next().is_some() {
        return Err(refuse("too many values for page token".into()));
    }
    let bytes = URL_SAFE.decode(token).map_err(|error| refuse(format!("page token {token:?}: {error}")))?;
    let Some(&[a, b, c, d]) = bytes.first_chunk::<4>() else {
        return Err(refuse(format!("page token {token:?} is too short")));
    };
    if u16::from_le_bytes([a, b]) != LIMIT {
        return Err(refuse(format!("token limit must be {LIMIT}")));
    }
    match u16::from_le_bytes([c, d]) {
        0 => Err(refuse("token page must be greater than zero".into())),
        page => Ok(page),
    }
}

/// The page that is asked for, and the token of the next one where there is anything on it.
pub(super) fn page<T>(
    request: &ApiRequest,
    all: impl Iterator<Item = T>,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let number = asked(request)?;
    let limit = usize::from(LIMIT);
    let mut rest = all.skip(usize::from(number - 1) * limit);
    let items: Vec<T> = rest.by_ref().take(limit).collect();
    let next = number.checked_add(1).filter(|_| rest.next().is_some());
    Ok((items, next.map(encode)))
}
