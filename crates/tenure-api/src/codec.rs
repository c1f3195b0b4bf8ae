//! Messages as gRPC carries them, with buffers that are as large as most messages.

use prost::Message;
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

/// What a call's buffer has room for when it begins. tonic's own 8 KiB, twice a call, cost more than the message that is in
/// them; and what a key or value was decoded from lives as long as they do.
const BUFFER_BYTES: usize = 1024;

/// Messages that wait for one another are sent together up to so many bytes.
const YIELD_BYTES: usize = 32 * 1024;

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

/// Reads messages of a type into buffers that begin small.
#[must_use]
pub fn decoder<T: Message + Default>() -> ProstDecoder<T> {
    ProstDecoder::new(buffers())
}

/// The codec of all stubs: sends `T`, receives `U`.
#[derive(Debug)]
pub struct MessageCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for MessageCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for MessageCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = MessageEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> MessageEncoder<T> {
        MessageEncoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        decoder()
    }
}

/// Writes messages of a type. Whatever their size, their buffer grows once.
#[derive(Debug)]
pub struct MessageEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for MessageEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode_raw(buffer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
