//! gRPC calls whose messages are written as text: `KV/Range key: "a" limit: 3`.
//!
//! The text is protobuf's text format, so that every field, unknown enum numbers included, can be sent.

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use std::{str::FromStr, sync::LazyLock, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::Channel,
};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(tenure_api::FILE_DESCRIPTOR_SET).expect("the build made the descriptors")
});

/// Messages as the bytes they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let len = buf.remaining();
        Ok(Some(buf.copy_to_bytes(len)))
    }
}

/// A method by the name a script uses.
#[derive(Clone, Debug)]
pub struct Method(MethodDescriptor);

impl Method {
    /// `KV/Range` or `v3lockpb.Lock/Lock`: the package may be left out.
    ///
    /// # Errors
    /// There is no such method.
    pub fn find(name: &str) -> Result<Self> {
        let (service, method) =
            name.split_once('/').with_context(|| format!("{name}: not Service/Method"))?;
        POOL.services()
            .filter(|found| found.full_name() == service || found.name() == service)
            .find_map(|found| found.methods().find(|found| found.name() == method))
            .map(Self)
            .with_context(|| format!("{name}: no such method"))
    }

    /// The path on the wire.
    ///
    /// # Panics
    /// Never: names of services are tokens.
    #[must_use]
    pub fn path(&self) -> http::uri::PathAndQuery {
        let path = format!("/{}/{}", self.0.parent_service().full_name(), self.0.name());
        http::uri::PathAndQuery::from_str(&path).expect("a method's name is a path")
    }

    /// Encodes a request written as text.
    ///
    /// # Errors
    /// The text is not of the request's type.
    pub fn encode(&self, text: &str) -> Result<Bytes> {
        let message = DynamicMessage::parse_text_format(self.0.input(), text)
            .with_context(|| format!("{}: {text}", self.0.input().full_name()))?;
        Ok(message.encode_to_vec().into())
    }

    /// Decodes an answer.
    ///
    /// # Errors
    /// The bytes are not of the answer's type.
    pub fn decode(&self, bytes: Bytes) -> Result<DynamicMessage> {
        Ok(DynamicMessage::decode(self.0.output(), bytes)?)
    }

    /// Whether the server sends a stream.
    #[must_use]
    pub fn is_server_streaming(&self) -> bool {
        self.0.is_server_streaming()
    }

    /// Whether it takes a stream of requests.
    #[must_use]
    pub fn is_client_streaming(&self) -> bool {
        self.0.is_client_streaming()
    }
}

/// The type of a message by its name, with or without the package.
///
/// # Errors
/// There is no such type.
pub fn message_type(name: &str) -> Result<MessageDescriptor> {
    POOL.all_messages()
        .find(|found| found.full_name() == name || found.name() == name)
        .with_context(|| format!("{name}: no such message"))
}

fn client(channel: Channel) -> Grpc<Channel> {
    Grpc::new(channel).max_decoding_message_size(usize::MAX)
}

/// One request, one answer. The outer error is the transport's, the inner one is what the server answered.
///
/// # Errors
/// No connection, or no answer in `patience`.
pub async fn unary(
    channel: Channel,
    path: http::uri::PathAndQuery,
    request: Request<Bytes>,
    patience: Duration,
) -> Result<Result<Bytes, Status>> {
    let mut client = client(channel);
    client.ready().await?;
    let call = client.unary(request, path, BytesCodec);
    let answer = tokio::time::timeout(patience, call).await.context("no answer")?;
    Ok(answer.map(tonic::Response::into_inner))
}

/// A stream in both directions that a script holds open.
#[derive(Debug)]
pub struct Stream {
    /// What is spoken on it.
    pub method: Method,
    requests: Option<mpsc::Sender<Bytes>>,
    answers: Answers,
}

/// A server may keep even its headers until it has something to say: then the call is still under way.
#[derive(Debug)]
enum Answers {
    Calling(JoinHandle<Result<Streaming<Bytes>, Status>>),
    Streaming(Box<Streaming<Bytes>>),
    Ended,
}

/// What a stream gave.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(DynamicMessage),
    /// The server ended the stream, with its status.
    End(Status),
}

impl Stream {
    /// Opens the stream, with the first request if there is one.
    ///
    /// * `metadata`: what the call brings along.
    ///
    /// # Errors
    /// No connection.
    pub async fn open(
        channel: Channel,
        method: Method,
        metadata: MetadataMap,
        first: Option<Bytes>,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(64);
        if let Some(first) = first {
            sender.send(first).await?;
        }
        let mut client = client(channel);
        client.ready().await?;
        let path = method.path();
        let call = tokio::spawn(async move {
            let mut request = Request::new(ReceiverStream::new(receiver));
            *request.metadata_mut() = metadata;
            let answer = client.streaming(request, path, BytesCodec).await;
            answer.map(tonic::Response::into_inner)
        });
        // Where only one request is allowed its stream ends with it, as every client's does.
        let requests = method.is_client_streaming().then_some(sender);
        Ok(Self { method, requests, answers: Answers::Calling(call) })
    }

    /// Sends one request.
    ///
    /// # Errors
    /// The text is wrong, the request side was closed, or the stream has ended.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        let bytes = self.method.encode(text)?;
        self.requests.as_ref().context("the request side is closed")?.send(bytes).await?;
        Ok(())
    }

    /// Says that no request follows.
    pub fn close(&mut self) {
        self.requests = None;
    }

    /// The next message, or the end.
    ///
    /// # Errors
    /// Nothing came in `patience`.
    pub async fn receive(&mut self, patience: Duration) -> Result<Received> {
        let next = tokio::time::timeout(patience, self.next()).await.context("nothing came")?;
        Ok(match next? {
            Ok(Some(bytes)) => Received::Message(self.method.decode(bytes)?),
            Ok(None) => Received::End(Status::ok("")),
            Err(status) => Received::End(status),
        })
    }

    async fn next(&mut self) -> Result<Result<Option<Bytes>, Status>> {
        if let Answers::Calling(call) = &mut self.answers {
            match call.await? {
                Ok(answers) => self.answers = Answers::Streaming(Box::new(answers)),
                Err(status) => {
                    self.answers = Answers::Ended;
                    return Ok(Err(status));
                }
            }
        }
        match &mut self.answers {
            Answers::Streaming(answers) => Ok(answers.message().await),
            Answers::Calling(_) | Answers::Ended => Ok(Ok(None)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Answers::Calling(call) = &self.answers {
            call.abort();
        }
    }
}

/// Who answers: the header's fields that differ from server to server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `cluster_id`
    pub cluster: u64,
    /// `member_id`
    pub member: u64,
    /// `raft_term` when the script began.
    pub term: u64,
}

/// Asks for it.
///
/// # Errors
/// No connection.
pub async fn identity(channel: Channel) -> Result<Identity> {
    let mut maintenance = tenure_api::etcdserverpb::maintenance_client::MaintenanceClient::new(channel);
    let answer = maintenance.status(tenure_api::etcdserverpb::StatusRequest {}).await?.into_inner();
    let header = answer.header.context("a status has a header")?;
    ensure!(header.cluster_id != 0 && header.member_id != 0, "a header is filled");
    Ok(Identity { cluster: header.cluster_id, member: header.member_id, term: header.raft_term })
}
