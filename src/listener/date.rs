//! The `Date` of answers (RFC 9110 §6.6.1).

use std::cell::RefCell;

use jiff::Timestamp;

use crate::clock::Clock;

thread_local! {
    /// The last date and its second: it is written as text once a second, not once an answer.
    static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Passes the `Date` of an answer that is written now.
pub(super) fn with_date<R>(use_date: impl FnOnce(&[u8]) -> R) -> R {
    let now = Clock::system().now();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now.as_second() {
            *second = now.as_second();
            *text = date(now);
        }
        use_date(text.as_bytes())
    })
}

/// The time in the form `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_has_the_form_of_the_rfc() {
        let time = Timestamp::from_second(784_111_777).unwrap();
        assert_eq!(date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(with_date(<[u8]>::len), 29);
    }
}
