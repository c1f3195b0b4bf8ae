//! One function an RPC that a command needs.

use super::{Connection, Sends, with_metadata};
use crate::exit::Failure;
use tenure_api::etcdserverpb::{
    self as pb, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

impl Connection {
    fn kv(&self, channel: Channel) -> KvClient<Channel> {
        KvClient::new(channel).max_decoding_message_size(self.response_bytes_max)
    }

    fn lease(&self, channel: Channel) -> LeaseClient<Channel> {
        LeaseClient::new(channel).max_decoding_message_size(self.response_bytes_max)
    }

    fn maintenance(&self, channel: Channel) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(channel).max_decoding_message_size(self.response_bytes_max)
    }

    /// `KV.Range`.
    ///
    /// # Errors
    /// The server refuses, or does not answer in time; so for all below.
    pub async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Failure> {
        let method = "/etcdserverpb.KV/Range";
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.kv(channel);
            async move { client.range(request).await }
        })
        .await
    }

    /// `KV.RangeStream`, its parts put together.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn range_stream(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Failure> {
        let parts = async {
            let (channel, _) = self.channel().await;
            let token = self.identity.token(&channel).await?;
            let request = with_metadata(request, false, token);
            let mut stream = self.kv(channel).range_stream(request).await?.into_inner();
            let mut whole = pb::RangeResponse::default();
            while let Some(part) = stream.message().await? {
                let part = part.range_response.unwrap_or_default();
                whole.kvs.extend(part.kvs);
                // Only the last part has these.
                whole.header = part.header.or(whole.header);
                whole.more |= part.more;
                whole.count = whole.count.max(part.count);
            }
            Ok(whole)
        };
        self.in_time("/etcdserverpb.KV/RangeStream", parts).await
    }

    /// `KV.Put`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, Failure> {
        let method = "/etcdserverpb.KV/Put";
        self.unary(method, Sends::Once, request, |channel, request| {
            let mut client = self.kv(channel);
            async move { client.put(request).await }
        })
        .await
    }

    /// `KV.DeleteRange`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Failure> {
        let method = "/etcdserverpb.KV/DeleteRange";
        self.unary(method, Sends::Once, request, |channel, request| {
            let mut client = self.kv(channel);
            async move { client.delete_range(request).await }
        })
        .await
    }

    /// `KV.Txn`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Failure> {
        let method = "/etcdserverpb.KV/Txn";
        self.unary(method, Sends::Once, request, |channel, request| {
            let mut client = self.kv(channel);
            async move { client.txn(request).await }
        })
        .await
    }

    /// `KV.Compact`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn compact(&self, request: pb::CompactionRequest) -> Result<pb::CompactionResponse, Failure> {
        let method = "/etcdserverpb.KV/Compact";
        self.unary(method, Sends::Once, request, |channel, request| {
            let mut client = self.kv(channel);
            async move { client.compact(request).await }
        })
        .await
    }

    /// `Lease.LeaseGrant`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn lease_grant(&self, ttl_seconds: i64) -> Result<pb::LeaseGrantResponse, Failure> {
        let method = "/etcdserverpb.Lease/LeaseGrant";
        let request = pb::LeaseGrantRequest { ttl: ttl_seconds, id: 0 };
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.lease(channel);
            async move { client.lease_grant(request).await }
        })
        .await
    }

    /// `Lease.LeaseRevoke`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn lease_revoke(&self, id: i64) -> Result<pb::LeaseRevokeResponse, Failure> {
        let method = "/etcdserverpb.Lease/LeaseRevoke";
        let request = pb::LeaseRevokeRequest { id };
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.lease(channel);
            async move { client.lease_revoke(request).await }
        })
        .await
    }

    /// `Lease.LeaseTimeToLive`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, Failure> {
        let method = "/etcdserverpb.Lease/LeaseTimeToLive";
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.lease(channel);
            async move { client.lease_time_to_live(request).await }
        })
        .await
    }

    /// `Lease.LeaseLeases`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn lease_leases(&self) -> Result<pb::LeaseLeasesResponse, Failure> {
        let method = "/etcdserverpb.Lease/LeaseLeases";
        let request = pb::LeaseLeasesRequest {};
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.lease(channel);
            async move { client.lease_leases(request).await }
        })
        .await
    }

    /// `Lease.LeaseKeepAlive` for one renewal. A TTL of 0 says that there is no such lease.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn lease_keep_alive_once(&self, id: i64) -> Result<pb::LeaseKeepAliveResponse, Failure> {
        let method = "/etcdserverpb.Lease/LeaseKeepAlive";
        let request = pb::LeaseKeepAliveRequest { id };
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.lease(channel);
            async move {
                let response = client.lease_keep_alive(request.map(tokio_stream::once)).await?;
                let mut stream = response.into_inner();
                let ended = || Status::unavailable("the stream ended without an answer");
                Ok(tonic::Response::new(stream.message().await?.ok_or_else(ended)?))
            }
        })
        .await
    }

    /// `Cluster.MemberList`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn member_list(&self, linearizable: bool) -> Result<pb::MemberListResponse, Failure> {
        let method = "/etcdserverpb.Cluster/MemberList";
        let request = pb::MemberListRequest { linearizable };
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = ClusterClient::new(channel).max_decoding_message_size(self.response_bytes_max);
            async move { client.member_list(request).await }
        })
        .await
    }

    /// `Maintenance.Alarm`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Failure> {
        let method = "/etcdserverpb.Maintenance/Alarm";
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.maintenance(channel);
            async move { client.alarm(request).await }
        })
        .await
    }

    /// `Maintenance.Status`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn status(&self) -> Result<pb::StatusResponse, Failure> {
        let method = "/etcdserverpb.Maintenance/Status";
        self.unary(method, Sends::Repeatable, pb::StatusRequest {}, |channel, request| {
            let mut client = self.maintenance(channel);
            async move { client.status(request).await }
        })
        .await
    }

    /// `Maintenance.HashKV` up to a revision, 0 for the current one.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn hash_kv(&self, revision: i64) -> Result<pb::HashKvResponse, Failure> {
        let method = "/etcdserverpb.Maintenance/HashKV";
        let request = pb::HashKvRequest { revision };
        self.unary(method, Sends::Repeatable, request, |channel, request| {
            let mut client = self.maintenance(channel);
            async move { client.hash_kv(request).await }
        })
        .await
    }

    /// `Maintenance.Defragment`.
    ///
    /// # Errors
    /// As [`Connection::range`].
    pub async fn defragment(&self) -> Result<pb::DefragmentResponse, Failure> {
        let method = "/etcdserverpb.Maintenance/Defragment";
        self.unary(method, Sends::Once, pb::DefragmentRequest {}, |channel, request| {
            let mut client = self.maintenance(channel);
            async move { client.defragment(request).await }
        })
        .await
    }

    /// `Maintenance.Snapshot`.
    ///
    /// # Errors
    /// The server refuses. It is waited for without limit.
    pub async fn snapshot(&self) -> Result<Streaming<pb::SnapshotResponse>, Status> {
        let (channel, _) = self.channel().await;
        let token = self.identity.token(&channel).await?;
        let request = with_metadata(pb::SnapshotRequest {}, false, token);
        Ok(self.maintenance(channel).snapshot(request).await?.into_inner())
    }

    /// `Watch.Watch`, refused where there is no leader.
    ///
    /// # Errors
    /// As [`Connection::snapshot`].
    pub async fn watch(
        &self,
        requests: ReceiverStream<pb::WatchRequest>,
    ) -> Result<Streaming<pb::WatchResponse>, Status> {
        let (channel, number) = self.channel().await;
        let token = self.identity.token(&channel).await?;
        let mut client = WatchClient::new(channel).max_decoding_message_size(self.response_bytes_max);
        match client.watch(with_metadata(requests, true, token)).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                // The answer does not matter: a watch may always be asked for again.
                self.may_repeat(Sends::Repeatable, &status, number);
                Err(status)
            }
        }
    }
}
