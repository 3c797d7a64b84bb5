//! Redis streams: XADD; XREADGROUP, then XACK and XDEL in one write.

use std::net::SocketAddr;

use super::body;
use super::line::Line;

/// The stream and the group of consumers.
const STREAM: &str = "bench";
const GROUP: &str = "workers";

/// How deep answers may nest.
const MAX_DEPTH: usize = 8;

/// One connection.
pub(crate) struct Client {
    line: Line,
    name: String,
    sends: usize,
}

impl Client {
    pub(super) async fn open(address: SocketAddr, number: usize) -> Result<Self, String> {
        Ok(Self { line: Line::open(address).await?, name: format!("c{number}"), sends: number * 1000 })
    }

    pub(super) async fn send(&mut self, batch: usize) -> Result<usize, String> {
        let mut request = Vec::with_capacity(batch * 1200);
        for _ in 0..batch {
            self.sends += 1;
            command(&mut request, &["XADD", STREAM, "*", "b", &body(self.sends)]);
        }
        self.line.write(&request).await?;
        for _ in 0..batch {
            self.answer().await?;
        }
        Ok(batch)
    }

    pub(super) async fn take(&mut self, batch: usize) -> Result<usize, String> {
        let mut request = Vec::new();
        let count = batch.to_string();
        let words = ["XREADGROUP", "GROUP", GROUP, &self.name, "COUNT", &count, "STREAMS", STREAM, ">"];
        command(&mut request, &words);
        self.line.write(&request).await?;
        let ids = entries(self.answer().await?);
        if ids.is_empty() {
            return Ok(0);
        }
        let mut words = vec!["XACK", STREAM, GROUP];
        words.extend(ids.iter().map(String::as_str));
        request.clear();
        command(&mut request, &words);
        let mut words = vec!["XDEL", STREAM];
        words.extend(ids.iter().map(String::as_str));
        command(&mut request, &words);
        self.line.write(&request).await?;
        for what in ["acknowledged", "deleted"] {
            let done = self.answer().await?;
            if done != Reply::Number(ids.len() as i64) {
                return Err(format!("{} messages, {what} {done:?}", ids.len()));
            }
        }
        Ok(ids.len())
    }

    async fn answer(&mut self) -> Result<Reply, String> {
        match self.line.read(|bytes| parse(bytes, 0)).await? {
            Reply::Error(text) => Err(text),
            reply => Ok(reply),
        }
    }
}

/// Takes the stream away and makes it anew.
pub(super) async fn reset(address: SocketAddr) -> Result<(), String> {
    let mut client = Client::open(address, 0).await?;
    for words in [&["DEL", STREAM][..], &["XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM"]] {
        let mut request = Vec::new();
        command(&mut request, words);
        client.line.write(&request).await?;
        client.answer().await?;
    }
    Ok(())
}

/// A command as the protocol has it: a list of texts.
fn command(to: &mut Vec<u8>, words: &[&str]) {
    to.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        to.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        to.extend_from_slice(word.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
}

/// What the server says.
#[derive(Debug, PartialEq)]
enum Reply {
    Text(String),
    Error(String),
    Number(i64),
    Nothing,
    List(Vec<Reply>),
}

/// The reply at the start of `bytes` and its length; `None` while it is not whole.
fn parse(bytes: &[u8], depth: usize) -> Result<Option<(Reply, usize)>, String> {
    if depth > MAX_DEPTH {
        return Err("an answer nests too deep".into());
    }
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (Some(kind), Some(line)) = (bytes.first(), bytes.get(1..end)) else {
        return Err("an empty line for an answer".into());
    };
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let number = || text.parse::<i64>().map_err(|_| format!("not a number: {text}"));
    let mut at = end + 2;
    let reply = match kind {
        b'+' => Reply::Text(text.to_owned()),
        b'-' => Reply::Error(text.to_owned()),
        b':' => Reply::Number(number()?),
        b'$' => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Some((Reply::Nothing, at))) };
            let Some(text) = bytes.get(at..at + length) else { return Ok(None) };
            if bytes.len() < at + length + 2 {
                return Ok(None);
            }
            at += length + 2;
            Reply::Text(String::from_utf8_lossy(text).into_owned())
        }
        b'*' => {
            let Ok(count) = usize::try_from(number()?) else { return Ok(Some((Reply::Nothing, at))) };
            let mut list = Vec::new();
            for _ in 0..count {
                let Some((reply, length)) = parse(&bytes[at..], depth + 1)? else { return Ok(None) };
                list.push(reply);
                at += length;
            }
            Reply::List(list)
        }
        other => return Err(format!("an answer that begins with {}", *other as char)),
    };
    Ok(Some((reply, at)))
}

/// The ids of the entries that XREADGROUP gave: `[[stream, [[id, fields], …]]]`.
fn entries(reply: Reply) -> Vec<String> {
    let mut ids = Vec::new();
    let Reply::List(streams) = reply else { return ids };
    for stream in streams {
        let Reply::List(mut parts) = stream else { continue };
        let Some(Reply::List(entries)) = parts.pop() else { continue };
        for entry in entries {
            if let Reply::List(parts) = entry
                && let Some(Reply::Text(id)) = parts.into_iter().next()
            {
                ids.push(id);
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_list_of_texts_with_their_lengths() {
        let mut request = Vec::new();
        command(&mut request, &["XDEL", "q", "1-0"]);
        assert_eq!(request, b"*3\r\n$4\r\nXDEL\r\n$1\r\nq\r\n$3\r\n1-0\r\n");
    }

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = b"*1\r\n*2\r\n$5\r\nbench\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nb\r\n$2\r\nxy\r\n:3\r\n";
        let whole = text.len() - 4;
        for length in 1..whole {
            assert_eq!(parse(&text[..length], 0).unwrap(), None, "{length}");
        }
        let (reply, length) = parse(text, 0).unwrap().unwrap();
        assert_eq!((entries(reply), length), (vec!["1-0".to_owned()], whole));
        assert_eq!(parse(&text[whole..], 0).unwrap(), Some((Reply::Number(3), 4)));
        assert_eq!(parse(b"*-1\r\n", 0).unwrap(), Some((Reply::Nothing, 5)));
        assert_eq!(parse(b"-ERR no\r\n", 0).unwrap(), Some((Reply::Error("ERR no".into()), 9)));
        assert!(parse(b"?\r\n", 0).is_err() && parse(b"\r\n", 0).is_err());
        assert!(parse(&b"*1\r\n".repeat(20), 0).is_err());
    }
}
