//! Frames: a little-endian `u32` length, then one postcard message of that many bytes.

use bytes::{Buf, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// The largest frame a coordinator sends. A state larger than [`crate::STATE_PART_BYTES`] goes in parts; this leaves room for one large bundle.
pub const FRAME_BYTES_MAX_DOWN: usize = 16 << 20;

/// The largest frame an agent sends. What a machine says is small; this bounds what one session can make a coordinator hold.
pub const FRAME_BYTES_MAX_UP: usize = 1 << 20;

/// Bytes of the length before each frame.
pub const FRAME_PREFIX_BYTES: usize = 4;

/// An empty receive buffer above this is given back: ten thousand idle sessions must not keep their largest frame's memory.
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 10;

/// Why bytes are not a frame, or a message does not fit one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is over the limit of this direction.
    #[error("a frame of {bytes} bytes is over the limit of {maximum} bytes; send less in one message")]
    Oversized {
        /// What was claimed or needed.
        bytes: usize,
        /// The limit of this direction.
        maximum: usize,
    },
    /// The bytes are not a message of this protocol version.
    #[error("a frame of {bytes} bytes is no message of this protocol version")]
    Malformed {
        /// The frame's length.
        bytes: usize,
        /// What the decoder found.
        #[source]
        source: postcard::Error,
    },
    /// The message ended before the frame did.
    #[error("a message is followed by {bytes} bytes that belong to nothing")]
    TrailingBytes {
        /// How many were left.
        bytes: usize,
    },
    /// The message could not be written.
    #[error("a message could not be encoded")]
    Encode(#[source] postcard::Error),
}

/// Encodes `message` with its length in front; an error if it is longer than `maximum` bytes.
pub fn encode<T: Serialize>(message: &T, maximum: usize) -> Result<Bytes, FrameError> {
    let mut frame = postcard::to_extend(message, vec![0; FRAME_PREFIX_BYTES]).map_err(FrameError::Encode)?;
    let bytes = frame.len().saturating_sub(FRAME_PREFIX_BYTES);
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= maximum).ok_or(FrameError::Oversized { bytes, maximum })?;
    for (place, byte) in frame.iter_mut().zip(length.to_le_bytes()) {
        *place = byte;
    }
    Ok(Bytes::from(frame))
}

/// Decodes the payload of one frame; every byte must belong to the message.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    let (message, rest) =
        postcard::take_from_bytes(payload).map_err(|source| FrameError::Malformed { bytes: payload.len(), source })?;
    if rest.is_empty() { Ok(message) } else { Err(FrameError::TrailingBytes { bytes: rest.len() }) }
}

/// Cuts received bytes into frames. It holds only what arrived: a claimed length reserves nothing.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    maximum: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames longer than `maximum` bytes.
    pub fn new(maximum: usize) -> Self {
        Self { buffer: BytesMut::new(), maximum }
    }

    /// Where received bytes are appended.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether bytes of an unfinished frame are held.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole frame's payload; `None` until more bytes arrive.
    pub fn next_payload(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<FRAME_PREFIX_BYTES>() else {
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*prefix) as usize;
        if bytes > self.maximum {
            return Err(FrameError::Oversized { bytes, maximum: self.maximum });
        }
        if self.buffer.len() < FRAME_PREFIX_BYTES + bytes {
            return Ok(None);
        }
        self.buffer.advance(FRAME_PREFIX_BYTES);
        let payload = self.buffer.split_to(bytes).freeze();
        if self.buffer.is_empty() && (bytes > BUFFER_KEPT_BYTES_MAX || self.buffer.capacity() > BUFFER_KEPT_BYTES_MAX) {
            self.buffer = BytesMut::new();
        }
        Ok(Some(payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ToAgent, ToCoordinator};

    fn beat() -> ToCoordinator {
        ToCoordinator::Beat { sent_at_milliseconds: 7 }
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = Vec::new();
        for _ in 0..3 {
            stream.extend_from_slice(&encode(&beat(), FRAME_BYTES_MAX_UP).unwrap());
        }
        for size in 1..stream.len() {
            let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX_UP);
            let mut seen = 0;
            for chunk in stream.chunks(size) {
                decoder.buffer_mut().extend_from_slice(chunk);
                while let Some(payload) = decoder.next_payload().unwrap() {
                    assert_eq!(decode::<ToCoordinator>(&payload).unwrap(), beat());
                    seen += 1;
                }
            }
            assert_eq!((seen, decoder.is_empty()), (3, true));
        }
    }

    #[test]
    fn a_claimed_length_over_the_limit_is_refused_and_reserves_nothing() {
        let mut decoder = FrameDecoder::new(100);
        decoder.buffer_mut().extend_from_slice(&101u32.to_le_bytes());
        assert!(matches!(decoder.next_payload(), Err(FrameError::Oversized { bytes: 101, maximum: 100 })));
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX_DOWN);
        decoder.buffer_mut().extend_from_slice(&(FRAME_BYTES_MAX_DOWN as u32).to_le_bytes());
        assert!(decoder.next_payload().unwrap().is_none());
        assert!(decoder.buffer_mut().capacity() < 1 << 10);
    }

    #[test]
    fn what_does_not_fit_is_not_sent() {
        let message = ToCoordinator::Status { body: Bytes::from(vec![0; 200]) };
        assert!(matches!(encode(&message, 100), Err(FrameError::Oversized { .. })));
    }

    #[test]
    fn trailing_bytes_and_unknown_variants_are_refused() {
        let frame = encode(&beat(), FRAME_BYTES_MAX_UP).unwrap();
        let mut payload = frame.slice(FRAME_PREFIX_BYTES..).to_vec();
        payload.push(0);
        assert!(matches!(decode::<ToCoordinator>(&payload), Err(FrameError::TrailingBytes { bytes: 1 })));
        assert!(matches!(decode::<ToAgent>(&[0xff, 0xff]), Err(FrameError::Malformed { .. })));
    }

    #[test]
    fn a_large_frames_memory_is_given_back() {
        let message = ToCoordinator::Status { body: Bytes::from(vec![1; 500_000]) };
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX_UP);
        decoder.buffer_mut().extend_from_slice(&encode(&message, FRAME_BYTES_MAX_UP).unwrap());
        assert!(decoder.next_payload().unwrap().is_some());
        assert!(decoder.buffer_mut().capacity() <= BUFFER_KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::{ToAgent, ToCoordinator};

    #[test]
    fn fuzz_frame() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut decoder = FrameDecoder::new(1 << 12);
            for chunk in bytes.chunks(7) {
                decoder.buffer_mut().extend_from_slice(chunk);
                while let Ok(Some(payload)) = decoder.next_payload() {
                    let _ = decode::<ToCoordinator>(&payload);
                    let _ = decode::<ToAgent>(&payload);
                }
            }
        });
    }

    #[test]
    fn fuzz_message() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok(message) = decode::<ToCoordinator>(bytes) {
                let frame = encode(&message, usize::MAX).unwrap();
                assert_eq!(decode::<ToCoordinator>(&frame[FRAME_PREFIX_BYTES..]).unwrap(), message);
            }
            if let Ok(message) = decode::<ToAgent>(bytes) {
                let frame = encode(&message, usize::MAX).unwrap();
                assert_eq!(decode::<ToAgent>(&frame[FRAME_PREFIX_BYTES..]).unwrap(), message);
            }
        });
    }
}
