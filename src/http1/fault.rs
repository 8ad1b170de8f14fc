//! The reasons why a message is refused, and the limits of a head.

/// The limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line, both included.
    pub max_bytes: usize,
    /// The number of field lines.
    pub max_fields: usize,
}

/// The reason why a message was refused. The text says what the sender must change.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum FramingFault {
    /// A chunk's size, extension or end violates RFC 9112 §7.1.
    #[error("the chunked body is not well-formed")]
    Chunk,
    #[error("the head contains a control character or a line that does not end in CR LF")]
    Control,
    #[error("Content-Length is not one plain number")]
    ContentLength,
    #[error("a header line is not well-formed")]
    FieldLine,
    /// Both ways to frame a body at once (RFC 9112 §6.1).
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    Framing,
    /// No `Host`, or more than one (RFC 9112 §3.2).
    #[error("a request has exactly one Host line")]
    Host,
    #[error("the request line is not well-formed")]
    RequestLine,
    /// A TLS handshake where plain HTTP is spoken.
    #[error(
        "a TLS handshake came, but this listener speaks plain HTTP: write http:// where the proxy is named, or set proxy.tls"
    )]
    Tls,
    #[error("the request's head is too large")]
    TooLarge,
    #[error("the only Transfer-Encoding understood is one chunked, in HTTP/1.1")]
    TransferEncoding,
    #[error("the HTTP version is neither 1.0 nor 1.1")]
    Version,
}
