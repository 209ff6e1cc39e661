//! As much of HTTP/1.1 as the floor needs of a registry: GET on a connection that stays, with a length.

use std::io::{BufRead as _, BufReader, Error, Read, Write as _};
use std::net::TcpStream;
use std::ops::Range;

use crate::Result;

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(256 << 10, stream), host: host.to_owned() })
    }

    /// Asks for a path, or a range of it; returns the length of the body and a reader of it, which must be read to its
    /// end before the next question.
    pub fn get(&mut self, path: &str, range: Option<Range<u64>>) -> Result<(u64, impl Read)> {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {ACCEPT}\r\n", self.host);
        if let Some(range) = &range {
            request.push_str(&format!("Range: bytes={}-{}\r\n", range.start, range.end - 1));
        }
        request.push_str("\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let wanted = if range.is_some() { " 206 " } else { " 200 " };
        if !line.contains(wanted) {
            return Err(Error::other(format!("{path}: {}", line.trim())).into());
        }
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = Some(value.trim().parse::<u64>()?);
                }
                Some(_) => {}
                None => break,
            }
        }
        let length = length.ok_or_else(|| Error::other(format!("{path}: no length")))?;
        Ok((length, self.stream.by_ref().take(length)))
    }
}
