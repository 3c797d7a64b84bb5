//! Messages and descriptors over a Unix socket. Each message is JSON behind its length (four bytes, most
//! significant first). Descriptors travel ahead of the message that speaks of them, with empty messages.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes of one message at most.
const MAX_MESSAGE: usize = 16 << 20;

/// Descriptors that travel together. The kernel takes 253.
const BATCH: usize = 128;

/// Descriptors that may wait to be asked for: more than any app has listeners.
const MAX_DESCRIPTORS: usize = 1 << 16;

/// Bytes read at once.
const READ: usize = 64 << 10;

/// One end of the connection between two nodes.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    input: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, input: Vec::new(), descriptors: VecDeque::new() }
    }

    /// Sends a message, and `descriptors` ahead of it.
    pub(super) async fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        for batch in descriptors.chunks(BATCH) {
            self.send_batch(batch).await?;
        }
        let json = serde_json::to_vec(message)?;
        if json.len() > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
        }
        let mut bytes = u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        bytes.extend_from_slice(&json);
        self.send_bytes(&bytes).await
    }

    /// An empty message that carries descriptors.
    async fn send_batch(&self, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
        let empty = [0; 4];
        let stream = &self.stream;
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(batch)) {
                    return Err(io::Error::other("too many descriptors at once"));
                }
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(sendmsg(stream, &[IoSlice::new(&empty)], &mut control, flags)?)
            })
            .await?;
        self.send_bytes(empty.get(sent..).unwrap_or_default()).await
    }

    async fn send_bytes(&self, mut bytes: &[u8]) -> io::Result<()> {
        let stream = &self.stream;
        while !bytes.is_empty() {
            let sent = stream
                .async_io(Interest::WRITABLE, || {
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    Ok(rustix::net::send(stream, bytes, flags)?)
                })
                .await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// The next message; `None` when the other end has closed the connection. May be given up and called
    /// again: nothing is lost.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            let Self { stream, input, descriptors } = self;
            let stream = &*stream;
            let read =
                stream.async_io(Interest::READABLE, || receive_some(stream, input, descriptors)).await?;
            if read == 0 {
                return Ok(None);
            }
        }
    }

    fn decode<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        while let Some(head) = self.input.first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            if length > MAX_MESSAGE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
            }
            if self.input.len() < 4 + length {
                break;
            }
            let json: Vec<u8> = self.input.drain(..4 + length).skip(4).collect();
            if !json.is_empty() {
                return Ok(Some(serde_json::from_slice(&json)?));
            }
        }
        Ok(None)
    }

    /// The descriptors that have come and were not asked for yet.
    pub(super) fn take_descriptors(&mut self) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

fn receive_some(
    stream: &UnixStream,
    input: &mut Vec<u8>,
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; READ];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::other("this process may not open as many descriptors as are handed over"));
    }
    input.extend_from_slice(bytes.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    #[tokio::test]
    async fn descriptors_come_with_the_message_that_speaks_of_them_and_in_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut one, mut other) = (Channel::new(one), Channel::new(other));
        let files: Vec<File> = (0..300)
            .map(|number| {
                let mut file = tempfile::tempfile().unwrap();
                write!(file, "{number}").unwrap();
                file.rewind().unwrap();
                file
            })
            .collect();
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let text = "x".repeat(1 << 20); // more than a socket takes at once
        let sending = async {
            one.send(&"before", &[]).await.unwrap();
            one.send(&text, &fds).await.unwrap();
        };
        let receiving = async {
            assert_eq!(other.receive::<String>().await.unwrap().unwrap(), "before");
            assert_eq!(other.receive::<String>().await.unwrap().unwrap(), text);
        };
        tokio::join!(sending, receiving);
        let came = other.take_descriptors();
        assert_eq!(came.len(), 300);
        for (number, fd) in came.into_iter().enumerate() {
            let mut said = String::new();
            File::from(fd).read_to_string(&mut said).unwrap();
            assert_eq!(said, number.to_string());
        }
        drop(one);
        assert!(other.receive::<String>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nonsense_is_an_error_and_not_a_wait() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut other = Channel::new(other);
        Channel::new(one).send_bytes(&[0xff; 8]).await.unwrap();
        assert_eq!(other.receive::<String>().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
