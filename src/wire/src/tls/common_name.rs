//! The common name in a certificate's subject (RFC 5280, 4.1).
//!
//! Only what is needed of DER is read here. The certificate has been verified before; yet nothing in it is
//! trusted to have the right length.

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The identifier of an attribute `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// One element: its tag, its content, and what comes behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // The length's own length; four bytes are more than any certificate needs.
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let (digits, rest) = rest.split_at(count);
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    if rest.len() < length {
        return None;
    }
    let (content, rest) = rest.split_at(length);
    Some((tag, content, rest))
}

fn tagged(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// The last common name of the subject, as Go reads it; `None` where there is none or it is no text.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = tagged(certificate, SEQUENCE)?;
    let (mut rest, _) = tagged(certificate, SEQUENCE)?;
    if let Some((_, behind)) = tagged(rest, VERSION) {
        rest = behind;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        rest = element(rest)?.2;
    }
    let (mut names, _) = tagged(rest, SEQUENCE)?;
    let mut found = None;
    while !names.is_empty() {
        let (mut attributes, behind) = tagged(names, SET)?;
        names = behind;
        while !attributes.is_empty() {
            let (attribute, behind) = tagged(attributes, SEQUENCE)?;
            attributes = behind;
            let (kind, value) = tagged(attribute, OBJECT_IDENTIFIER)?;
            if kind == COMMON_NAME {
                found = element(value).map(|(_, text, _)| text);
            }
        }
    }
    String::from_utf8(found?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::common_name;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate(subject: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in subject {
            params.distinguished_name.push(kind.clone(), *text);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_common_name_is_found_among_other_names() {
        let organization = (DnType::OrganizationName, "org");
        let whole =
            certificate(&[organization.clone(), (DnType::CommonName, "alice"), (DnType::CountryName, "AT")]);
        assert_eq!(common_name(&whole).as_deref(), Some("alice"));
        assert_eq!(common_name(&certificate(&[organization])), None);
        let long = "x".repeat(200);
        assert_eq!(common_name(&certificate(&[(DnType::CommonName, &long)])), Some(long));
    }

    #[test]
    fn a_certificate_cut_short_anywhere_has_no_name_and_does_no_harm() {
        let whole = certificate(&[(DnType::CommonName, "alice")]);
        for length in 0..whole.len() {
            assert_eq!(common_name(&whole[..length]), None, "{length}");
        }
    }
}
