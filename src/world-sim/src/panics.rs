//! Panics in simulation threads: their message and place go into the outcome instead of onto the screen.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;

thread_local! {
    static IN_SIMULATION: Cell<bool> = const { Cell::new(false) };
    static LATEST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on this thread's panics are kept for [`message`]. The hook is the process's, but leaves all other
/// threads to the hook that was there before.
pub(crate) fn keep_on_this_thread() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_SIMULATION.get() {
                let _ = LATEST.try_with(|latest| latest.replace(Some(describe(info))));
            } else {
                before(info);
            }
        }));
    });
    IN_SIMULATION.set(true);
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = text(info.payload());
    match info.location() {
        Some(place) => format!("{text} (at {}:{})", place.file(), place.line()),
        None => text,
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// What the panic that was just caught said, and where.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    LATEST.with(|latest| latest.borrow_mut().take()).unwrap_or_else(|| text(payload))
}
