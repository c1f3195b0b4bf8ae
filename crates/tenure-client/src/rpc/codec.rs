//! Requests that are encoded once, however often they are sent.

use crate::{Error, Result};
use bytes::{BufMut, Bytes};
use prost::Message;
use std::marker::PhantomData;
use tenure_api::codec;
use tonic::{
    Status,
    codec::{Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

/// Sends bytes as they are, and reads answers of type `R`.
pub(super) struct Encoded<R>(PhantomData<R>);

impl<R> Default for Encoded<R> {
    fn default() -> Self {
        Encoded(PhantomData)
    }
}

impl<R: Message + Default + Send + 'static> Codec for Encoded<R> {
    type Encode = Bytes;
    type Decode = R;
    type Encoder = AsIs;
    type Decoder = ProstDecoder<R>;

    fn encoder(&mut self) -> AsIs {
        AsIs
    }

    fn decoder(&mut self) -> ProstDecoder<R> {
        codec::decoder()
    }
}

pub(super) struct AsIs;

impl Encoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.len());
        buffer.put(message);
        Ok(())
    }
}

impl super::Rpc {
    /// The largest message that is received.
    pub(crate) fn response_bytes_max(&self) -> usize {
        self.response_bytes_max
    }

    /// How many bytes a request has, unless they are more than the configured limit.
    pub(crate) fn check_size(&self, request: &impl Message) -> Result<usize> {
        let request_bytes = request.encoded_len();
        let request_bytes_max = self.request_bytes_max;
        if request_bytes > request_bytes_max {
            return Err(Error::RequestTooLarge { request_bytes, request_bytes_max });
        }
        Ok(request_bytes)
    }
}
