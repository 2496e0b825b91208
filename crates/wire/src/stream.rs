//! Messages over one byte stream: the only place where frames meet asynchronous reads and writes.

use std::{io, marker::PhantomData};

use bytes::{Buf, Bytes};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frame::{self, FrameDecoder, FrameError};

/// One read asks for no more than this; a larger frame arrives in several.
const READ_BYTES: usize = 2 << 10;

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The stream broke.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// The peer sent what is no frame, or a message does not fit one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// A whole message.
    Message(T),
    /// A part of one: the peer lives, though its link is slow.
    Progress,
    /// The peer has finished.
    End,
}

/// Sends messages of type `T`.
#[derive(Debug)]
pub struct FrameSender<W, T> {
    stream: W,
    pending: Bytes,
    maximum: usize,
    message: PhantomData<fn(T)>,
}

impl<W: AsyncWrite + Unpin, T: Serialize> FrameSender<W, T> {
    /// Frames at most `maximum` bytes long over `stream`.
    pub fn new(stream: W, maximum: usize) -> Self {
        Self { stream, pending: Bytes::new(), maximum, message: PhantomData }
    }

    /// Whether a message is still on its way out.
    pub fn is_pending(&self) -> bool {
        self.pending.has_remaining()
    }

    /// Encodes a message for [`Self::drain`]. The one before must be out.
    pub fn queue(&mut self, message: &T) -> Result<(), FrameError> {
        debug_assert!(!self.is_pending());
        self.pending = frame::encode(message, self.maximum)?;
        Ok(())
    }

    /// Writes what is queued. Cancel safe: a later call goes on where this one stopped.
    pub async fn drain(&mut self) -> Result<(), StreamError> {
        while self.pending.has_remaining() {
            let written = self.stream.write(&self.pending).await?;
            if written == 0 {
                return Err(StreamError::Io(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
        }
        self.pending = Bytes::new();
        Ok(())
    }

    /// Encodes and writes one message.
    pub async fn send(&mut self, message: &T) -> Result<(), StreamError> {
        self.queue(message)?;
        self.drain().await
    }

    /// Says that nothing more comes, and waits until the stream has taken what was written.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        self.drain().await?;
        self.stream.shutdown().await?;
        Ok(())
    }
}

/// Receives messages of type `T`.
#[derive(Debug)]
pub struct FrameReceiver<R, T> {
    stream: R,
    decoder: FrameDecoder,
    message: PhantomData<fn() -> T>,
}

impl<R: AsyncRead + Unpin, T: DeserializeOwned> FrameReceiver<R, T> {
    /// Frames at most `maximum` bytes long from `stream`.
    pub fn new(stream: R, maximum: usize) -> Self {
        Self { stream, decoder: FrameDecoder::new(maximum), message: PhantomData }
    }

    /// The next message, or word that a part of one arrived. Cancel safe.
    pub async fn step(&mut self) -> Result<Step<T>, StreamError> {
        if let Some(message) = self.buffered()? {
            return Ok(Step::Message(message));
        }
        let buffer = self.decoder.buffer_mut();
        buffer.reserve(READ_BYTES);
        if self.stream.read_buf(buffer).await? == 0 {
            return if self.decoder.is_empty() { Ok(Step::End) } else { Err(StreamError::Cut) };
        }
        Ok(self.buffered()?.map_or(Step::Progress, Step::Message))
    }

    /// The next message; `None` when the peer has finished. Cancel safe.
    pub async fn receive(&mut self) -> Result<Option<T>, StreamError> {
        loop {
            match self.step().await? {
                Step::Message(message) => return Ok(Some(message)),
                Step::Progress => {}
                Step::End => return Ok(None),
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<T>, FrameError> {
        let payload = self.decoder.next_payload()?;
        payload.map(|payload| frame::decode(&payload)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FRAME_BYTES_MAX_UP, ToCoordinator};

    #[tokio::test]
    async fn messages_cross_a_stream_narrower_than_they_are() {
        let (near, far) = tokio::io::duplex(64);
        let mut sender = FrameSender::new(near, FRAME_BYTES_MAX_UP);
        let mut receiver = FrameReceiver::new(far, FRAME_BYTES_MAX_UP);
        let message = ToCoordinator::Status { body: Bytes::from(vec![3; 10_000]) };
        let (sent, received) = tokio::join!(sender.send(&message), receiver.receive());
        sent.unwrap();
        assert_eq!(received.unwrap(), Some(message));
        sender.finish().await.unwrap();
        assert!(receiver.receive().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_says_so() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut receiver: FrameReceiver<_, ToCoordinator> = FrameReceiver::new(far, FRAME_BYTES_MAX_UP);
        near.write_all(&[9, 0, 0, 0, 1]).await.unwrap();
        drop(near);
        assert!(matches!(receiver.receive().await, Err(StreamError::Cut)));
    }
}
