//! The place of a request in a distributed trace (W3C Trace Context), and the share of traces that
//! is recorded.

use std::fmt;

/// A request's place in a trace, with the id of its own span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpanContext {
    /// The id of the trace.
    pub trace_id: [u8; 16],
    /// The id of the request's span.
    pub span_id: [u8; 8],
    /// The id of the caller's span; `None` for a trace that begins here.
    pub parent_id: Option<[u8; 8]>,
    /// Tells whether the trace is recorded.
    pub is_sampled: bool,
}

/// The span of a caller, as its `traceparent` names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParentSpan {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    is_sampled: bool,
}

/// The share of traces that are recorded, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRatio(f64);

impl ParentSpan {
    /// Reads the value of a `traceparent` field. One that breaks a rule of the specification (§3.2)
    /// is none.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        // 1. The version, which no valid field has as ff.
        let (version, rest) = value.split_at_checked(2)?;
        let [version] = unhex::<1>(version)?;
        // 2. Its four parts. A later version may have more, behind a dash.
        let (known, more) = rest.split_at_checked(VERSION_0_LEN - 2)?;
        let is_whole = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let mut parts = known.strip_prefix(b"-")?.split(|byte| *byte == b'-');
        let trace_id = unhex::<16>(parts.next()?)?;
        let span_id = unhex::<8>(parts.next()?)?;
        let [flags] = unhex::<1>(parts.next()?)?;
        // 3. Ids of zeros alone are none.
        let is_valid = is_whole && trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { trace_id, span_id, is_sampled: flags & SAMPLED != 0 })
    }
}

impl SpanContext {
    /// The place of a request below its caller's span, by a random id. The caller's choice to record
    /// the trace counts.
    #[must_use]
    pub fn below(parent: ParentSpan, span_id: [u8; 8]) -> Self {
        let ParentSpan { trace_id, span_id: caller, is_sampled } = parent;
        Self { trace_id, span_id: valid(span_id), parent_id: Some(caller), is_sampled }
    }

    /// The place of a request whose trace begins here, by random ids. `ratio` decides if it is
    /// recorded.
    #[must_use]
    pub fn beginning(ratio: SampleRatio, trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        let (trace_id, span_id) = (valid(trace_id), valid(span_id));
        let is_sampled = ratio.takes(trace_id);
        Self { trace_id, span_id, parent_id: None, is_sampled }
    }

    /// The value of the `traceparent` field of what is sent on: its parent is the request's span.
    #[must_use]
    pub fn to_field(&self) -> String {
        let flags = if self.is_sampled { SAMPLED } else { 0 };
        format!("00-{}-{}-{flags:02x}", Hex(&self.trace_id), Hex(&self.span_id))
    }

    /// The id of the trace as the log writes it.
    #[must_use]
    pub fn trace_id(&self) -> Hex<'_> {
        Hex(&self.trace_id)
    }
}

impl SampleRatio {
    /// A share from 0 to 1; `None` for any other number.
    #[must_use]
    pub fn new(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio))
    }

    /// Tells whether a trace is recorded. The same id has the same verdict everywhere
    /// (`TraceIdRatioBased` of OpenTelemetry).
    fn takes(self, trace_id: [u8; 16]) -> bool {
        if self.0 >= 1.0 {
            return true;
        }
        let low = trace_id.last_chunk::<8>().copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more precision")]
        let drawn = (u64::from_be_bytes(low) >> 1) as f64;
        drawn < self.0 * DRAWN_RANGE
    }
}

impl Default for SampleRatio {
    fn default() -> Self {
        Self(1.0)
    }
}

/// Bytes in lower-case hexadecimal.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An id that is not all zeros, which stands for none.
fn valid<const N: usize>(id: [u8; N]) -> [u8; N] {
    if id == [0; N] { [1; N] } else { id }
}

/// Reads `N` bytes in lower-case hexadecimal, and nothing beside them.
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// The length of version 0 of the field, with its version.
const VERSION_0_LEN: usize = 55;

/// The number of values that 63 bits can have.
const DRAWN_RANGE: f64 = 9_223_372_036_854_775_808.0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIELD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn ratio(ratio: f64) -> SampleRatio {
        SampleRatio::new(ratio).unwrap()
    }

    #[test]
    fn a_callers_span_is_the_parent_and_its_choice_counts() {
        for (flags, is_sampled) in [("01", true), ("00", false), ("03", true), ("fe", false)] {
            let field = format!("{}-{flags}", FIELD.rsplit_once('-').unwrap().0);
            let parent = ParentSpan::parse(field.as_bytes()).unwrap();
            let context = SpanContext::below(parent, [7; 8]);
            assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(Hex(&context.parent_id.unwrap()).to_string(), "b7ad6b7169203331");
            assert_eq!(context.is_sampled, is_sampled, "{flags}");
            let own = if is_sampled { "01" } else { "00" };
            let sent = format!("00-0af7651916cd43dd8448eb211c80319c-0707070707070707-{own}");
            assert_eq!(context.to_field(), sent);
        }
    }

    #[test]
    fn a_field_that_breaks_a_rule_is_none() {
        let with = |from: &str, to: &str| FIELD.replacen(from, to, 1);
        for field in [
            String::new(),
            "00".to_owned(),
            FIELD.to_uppercase(),
            with("00-", "ff-"),
            with("00-", "0-"),
            with("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            with("b7ad6b7169203331", &"0".repeat(16)),
            with("0af7", "0af"),
            with("0af7", "+af7"),
            with("-b7", "_b7"),
            format!("{FIELD}-"),
            format!("{FIELD}-what"),
            format!("{FIELD} "),
            with("00-", "cc-") + "x",
        ] {
            assert_eq!(ParentSpan::parse(field.as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let known = ParentSpan::parse(FIELD.as_bytes());
        for field in [FIELD.replacen("00-", "cc-", 1), FIELD.replacen("00-", "01-", 1) + "-more"] {
            assert_eq!(ParentSpan::parse(field.as_bytes()), known, "{field}");
        }
    }

    #[test]
    fn no_share_and_the_whole_are_exact() {
        for random in [0, 0xff, 0x80] {
            let beginning = |share| SpanContext::beginning(ratio(share), [random; 16], [random; 8]);
            assert!(!beginning(0.0).is_sampled);
            let all = beginning(1.0);
            assert!(all.is_sampled && all.trace_id != [0; 16] && all.span_id != [0; 8]);
        }
        for not in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(SampleRatio::new(not), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_on_is_read_again(trace_id: [u8; 16], span_id: [u8; 8]) {
            let context = SpanContext::beginning(ratio(1.0), trace_id, span_id);
            let read = ParentSpan::parse(context.to_field().as_bytes()).unwrap();
            prop_assert_eq!((read.trace_id, read.span_id), (context.trace_id, context.span_id));
        }

        #[test]
        fn exactly_what_the_rules_allow_is_read(
            version in "(00|01|cc|ff)", trace in "(0{32}|[0-9a-f]{31,33}|[0-9A-F]{32})",
            span in "(0{16}|[0-9a-f]{15,17})", flags in "[0-9a-f]{2}", more in "(|-|-x|x)"
        ) {
            let is_id = |id: &str, length| {
                id.len() == length
                    && !id.bytes().any(|letter| letter.is_ascii_uppercase())
                    && id.bytes().any(|letter| letter != b'0')
            };
            let is_whole = match version.as_str() {
                "00" => more.is_empty(),
                "ff" => false,
                _ => more != "x",
            };
            let field = format!("{version}-{trace}-{span}-{flags}{more}");
            let expected = is_whole && is_id(&trace, 32) && is_id(&span, 16);
            prop_assert_eq!(ParentSpan::parse(field.as_bytes()).is_some(), expected, "{}", field);
        }
    }

    #[test]
    fn a_share_is_about_that_share() {
        let draw = |number: u64| {
            let drawn = u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            ratio(0.25).takes(drawn.to_be_bytes())
        };
        let taken = (0..4000).filter(|number| draw(*number)).count();
        assert!((900..1100).contains(&taken), "{taken}");
    }
}
