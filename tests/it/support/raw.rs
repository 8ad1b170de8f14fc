//! A caller that writes bytes as they are, and reads what comes back.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::ask::Ask;
use super::{soon, tls};

/// Anything to speak over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One conn.
pub(crate) struct Raw {
    pub(crate) io: Box<dyn Io>,
    unread: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// Whether the body ended as its framing said.
    pub(crate) whole: bool,
}

impl Raw {
    pub(crate) async fn tcp(address: &str) -> Self {
        Self::over(soon(TcpStream::connect(address)).await.unwrap())
    }

    pub(crate) async fn unix(path: &Path) -> Self {
        Self::over(soon(UnixStream::connect(path)).await.unwrap())
    }

    /// TLS with `localhost`, offering these protocols; gives the one that was taken.
    pub(crate) async fn tls(address: &str, alpn: &[&str]) -> (Self, Option<Vec<u8>>) {
        Self::tls_as("localhost", address, alpn).await
    }

    /// TLS with a server of this name.
    pub(crate) async fn tls_as(
        name: &str,
        address: &str,
        alpn: &[&str],
    ) -> (Self, Option<Vec<u8>>) {
        let io = soon(TcpStream::connect(address)).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(&tls::caller(alpn)));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let io = soon(connector.connect(name, io)).await.unwrap();
        let chosen = io.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        (Self::over(io), chosen)
    }

    pub(crate) fn over(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), unread: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.io.write_all(bytes.as_ref())).await.unwrap();
        soon(self.io.flush()).await.unwrap();
    }

    /// Writes where the other end may have gone.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        soon(self.io.write_all(bytes)).await?;
        soon(self.io.flush()).await
    }

    /// Says that nothing more will come, and goes on reading.
    pub(crate) async fn close_write(&mut self) {
        soon(self.io.shutdown()).await.unwrap();
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(&mut self, ask: &Ask) -> Answer {
        self.write(ask.bytes()).await;
        self.answer_to(ask.method()).await
    }

    /// Reads one final answer to a GET.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    /// Reads one final answer; interim ones are passed over.
    pub(crate) async fn answer_to(&mut self, method: &str) -> Answer {
        loop {
            let mut answer = self.head().await;
            if answer.status >= 200 || answer.status == 101 {
                self.read_body(&mut answer, method).await;
                return answer;
            }
        }
    }

    /// Reads one head, final or interim.
    pub(crate) async fn head(&mut self) -> Answer {
        let head = self.until(b"\r\n\r\n").await;
        let head = head.unwrap_or_else(|rest| panic!("no head but {:?}", lossy(&rest)));
        let text = String::from_utf8_lossy(&head).into_owned();
        let (line, fields) = text.split_once("\r\n").unwrap();
        let status = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{line}"));
        Answer {
            status: status[..3].parse().unwrap(),
            headers: fields_of(fields),
            ..Answer::default()
        }
    }

    async fn read_body(&mut self, answer: &mut Answer, method: &str) {
        let header =
            |name| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let (length, coding) = (header("content-length"), header("transfer-encoding"));
        let bodiless = method == "HEAD" || matches!(answer.status, 101 | 204 | 304);
        answer.whole = true;
        if bodiless {
        } else if coding.is_some() {
            assert_eq!(coding.as_deref(), Some("chunked"));
            self.read_chunks(answer).await;
        } else if let Some(length) = length {
            let length = length.parse().unwrap();
            answer.whole = self.fill(length).await;
            let length = length.min(self.unread.len());
            answer.body = self.unread.drain(..length).collect();
        } else {
            answer.body = self.rest().await;
        }
    }

    async fn read_chunks(&mut self, answer: &mut Answer) {
        answer.whole = false;
        loop {
            let Ok(line) = self.until(b"\r\n").await else { return };
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                break;
            }
            if !self.fill(size + 2).await {
                answer.body.append(&mut self.unread);
                return;
            }
            answer.body.extend(self.unread.drain(..size + 2).take(size));
        }
        let mut fields = String::new();
        while let Ok(line) = self.until(b"\r\n").await {
            if line == b"\r\n" {
                answer.whole = true;
                break;
            }
            fields.push_str(std::str::from_utf8(&line).unwrap());
        }
        answer.trailers = fields_of(&fields);
    }

    /// Reads up to and including `mark`; else everything to the end.
    pub(crate) async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..].windows(mark.len()).position(|part| part == mark);
            if let Some(at) = found {
                return Ok(self.unread.drain(..searched + at + mark.len()).collect());
            }
            searched = self.unread.len().saturating_sub(mark.len());
            if !self.more().await {
                return Err(std::mem::take(&mut self.unread));
            }
        }
    }

    /// Reads exactly so much; `None` when the conn ends before.
    pub(crate) async fn exact(&mut self, length: usize) -> Option<Vec<u8>> {
        self.fill(length).await.then(|| self.unread.drain(..length).collect())
    }

    /// Reads until this much is there; `false` when the conn ends before.
    async fn fill(&mut self, length: usize) -> bool {
        while self.unread.len() < length {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    /// Reads a little more; `false` when the conn has ended, in whatever way.
    async fn more(&mut self) -> bool {
        let mut space = vec![0; 65536];
        match soon(self.io.read(&mut space)).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&space[..count]);
                true
            }
        }
    }

    /// Reads so much and throws it away; gives how much there was.
    pub(crate) async fn discard(&mut self, length: u64) -> u64 {
        let mut taken = self.unread.len() as u64;
        self.unread.clear();
        let mut space = vec![0; 1 << 18];
        while taken < length {
            let most = usize::try_from((length - taken).min(1 << 18)).unwrap();
            match soon(self.io.read(&mut space[..most])).await {
                Ok(0) | Err(_) => break,
                Ok(count) => taken += count as u64,
            }
        }
        taken
    }

    /// Everything to the end of the conn.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    /// Whether the conn ends within this time, in whatever way.
    pub(crate) async fn ends_within(&mut self, time: std::time::Duration) -> bool {
        let mut space = [0; 64];
        let ended = async { while self.io.read(&mut space).await.is_ok_and(|count| count > 0) {} };
        tokio::time::timeout(time, ended).await.is_ok()
    }

    /// Waits for the conn to end, and that nothing more comes before.
    pub(crate) async fn ends(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "more came: {:?}", lossy(&rest));
    }
}

impl Answer {
    /// A field that stands once at most; empty when it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} stands more than once");
        value
    }

    pub(crate) fn text(&self) -> String {
        lossy(&self.body)
    }

    /// The code of a refusal, having looked that it is written as contract §4 says.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.field("content-type"), "application/json", "{self:?}");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        let errors = body["errors"].as_array().unwrap();
        assert_eq!((errors.len(), body.as_object().unwrap().len()), (1, 2), "{body}");
        let code = errors[0]["code"].as_str().unwrap();
        let title = &errors[0]["title"];
        let error = serde_json::json!({"type": "keyferry_refusal", "code": code, "message": title});
        assert_eq!(body["error"], error);
        assert!(!errors[0]["title"].as_str().unwrap().is_empty(), "{body}");
        let status = self.field("proxy-status");
        let details = format!("; details=\"{code}: ");
        assert!(status.starts_with("keyferry; error=") && status.contains(&details), "{status}");
        code.to_owned()
    }

    /// The sentence of a refusal.
    pub(crate) fn title(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["errors"][0]["title"].as_str().unwrap().to_owned()
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }
}

/// A refusal as [`Answer::refusal`] gives it.
pub(crate) fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn fields_of(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name = HeaderName::try_from(name).unwrap();
        headers.append(name, HeaderValue::try_from(value.trim()).unwrap());
    }
    headers
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
