//! What a stream over another is in Pingora's eyes where it only looks at the bytes: whatever the stream below is. One of the few modules
//! that name Pingora types.

/// Has a `Stream<S>` with a field `below` of [`S: IO`](pingora::protocols::IO) say of itself what that says.
macro_rules! is_as_below {
    ($stream:ident) => {
        #[async_trait::async_trait]
        impl<S: pingora::protocols::IO> pingora::protocols::Shutdown for $stream<S> {
            async fn shutdown(&mut self) {
                self.below.shutdown().await;
            }
        }

        impl<S: pingora::protocols::IO> pingora::protocols::UniqueID for $stream<S> {
            fn id(&self) -> pingora::protocols::UniqueIDType {
                self.below.id()
            }
        }

        impl<S: pingora::protocols::IO> pingora::protocols::Ssl for $stream<S> {
            fn get_ssl(&self) -> Option<&pingora::protocols::tls::TlsRef> {
                self.below.get_ssl()
            }

            fn get_ssl_digest(&self) -> Option<std::sync::Arc<pingora::protocols::tls::SslDigest>> {
                self.below.get_ssl_digest()
            }

            fn selected_alpn_proto(&self) -> Option<pingora::protocols::ALPN> {
                self.below.selected_alpn_proto()
            }
        }

        #[async_trait::async_trait]
        impl<S: pingora::protocols::IO> pingora::protocols::Peek for $stream<S> {
            async fn try_peek(&mut self, buf: &mut [u8]) -> std::io::Result<bool> {
                self.below.try_peek(buf).await
            }
        }

        impl<S: pingora::protocols::IO> pingora::protocols::GetTimingDigest for $stream<S> {
            fn get_timing_digest(&self) -> Vec<Option<pingora::protocols::TimingDigest>> {
                self.below.get_timing_digest()
            }
        }

        impl<S: pingora::protocols::IO> pingora::protocols::GetProxyDigest for $stream<S> {
            fn get_proxy_digest(&self) -> Option<std::sync::Arc<pingora::protocols::raw_connect::ProxyDigest>> {
                self.below.get_proxy_digest()
            }
        }

        impl<S: pingora::protocols::IO> pingora::protocols::GetSocketDigest for $stream<S> {
            fn get_socket_digest(&self) -> Option<std::sync::Arc<pingora::protocols::SocketDigest>> {
                self.below.get_socket_digest()
            }
        }
    };
}

pub(super) use is_as_below;
