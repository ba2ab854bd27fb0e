//! Certificates, HTTP/2 and handshakes that lead nowhere.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::outbound::install_crypto;

/// Starts a TLS server with a certificate of its own for `name`, and returns that certificate too.
async fn receiver(name: &str) -> (Receiver, reqwest::Certificate) {
    let (acceptor, root) = acceptor(name);
    let receiver = Receiver::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream).await;
            }
        }
    })
    .await;
    (receiver, root)
}

fn acceptor(name: &str) -> (TlsAcceptor, reqwest::Certificate) {
    install_crypto();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), reqwest::Certificate::from_der(cert.der()).unwrap())
}

/// Answers every request with the version of HTTP that it came in.
async fn serve(stream: TlsStream<TcpStream>) {
    let answer = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
        let version = format!("{:?}", request.version());
        Ok::<_, std::convert::Infallible>(hyper::Response::new(http_body_util::Full::new(Bytes::from(version))))
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

#[tokio::test]
async fn unknown_certificates_are_refused() {
    let (receiver, _) = receiver("localhost").await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/", receiver.address.port());
        let result = client().attempt(&attempt(&url, PATIENT)).await;
        assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Tls)), "{result:?}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (receiver, root) = receiver("other.example").await;
    let client = CallbackClient::with_roots(local(), PATIENT, &[root], LARGEST_AGE).unwrap();
    let url = format!("https://localhost:{}/", receiver.address.port());
    assert_eq!(kind(&client.attempt(&attempt(&url, PATIENT)).await), Some(ErrorKind::Tls));
}

#[tokio::test]
async fn http2_is_spoken_where_offered_and_one_connection_serves_many() {
    let (receiver, root) = receiver("localhost").await;
    let client = CallbackClient::with_roots(local(), PATIENT, &[root], LARGEST_AGE).unwrap();
    let url = format!("https://localhost:{}/", receiver.address.port());
    for _ in 0..3 {
        let result = client.attempt(&attempt(&url, PATIENT)).await;
        assert_eq!((result.status, result.body_excerpt.as_str()), (Some(200), "HTTP/2.0"), "{result:?}");
    }
    assert_eq!(receiver.connections(), 1);
}

/// Frames of HTTP/2 (RFC 9113 §6).
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const REFUSED_STREAM: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07";
const INTERNAL_ERROR: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02";
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Starts a receiver whose first connection gets these frames in answer to its request; the others are served.
async fn refusing_once(frames: &'static [u8]) -> (Receiver, reqwest::Certificate) {
    let (acceptor, root) = acceptor("localhost");
    let count = Arc::new(AtomicUsize::new(0));
    let receiver = Receiver::start(move |stream| {
        let (acceptor, is_first) = (acceptor.clone(), count.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if !is_first {
                return serve(stream).await;
            }
            stream.write_all(SETTINGS).await.unwrap();
            let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
            // The body is the last of the request.
            while !seen.windows(8).any(|window| window == b"as it is") {
                let read = stream.read(&mut chunk).await.unwrap();
                seen.extend_from_slice(&chunk[..read]);
            }
            stream.write_all(frames).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    (receiver, root)
}

#[tokio::test]
async fn a_stream_that_was_refused_goes_out_again_at_once_on_a_fresh_connection() {
    for frames in [REFUSED_STREAM, GOAWAY] {
        let (receiver, root) = refusing_once(frames).await;
        let client = CallbackClient::with_roots(local(), PATIENT, &[root], LARGEST_AGE).unwrap();
        let url = format!("https://localhost:{}/", receiver.address.port());
        let result = client.attempt(&attempt(&url, PATIENT)).await;
        assert_eq!((result.status, &result.error), (Some(200), &None), "{frames:?}");
        assert_eq!(receiver.connections(), 2);
    }
}

#[tokio::test]
async fn a_stream_that_failed_is_an_attempt() {
    let (receiver, root) = refusing_once(INTERNAL_ERROR).await;
    let client = CallbackClient::with_roots(local(), PATIENT, &[root], LARGEST_AGE).unwrap();
    let url = format!("https://localhost:{}/", receiver.address.port());
    let result = client.attempt(&attempt(&url, PATIENT)).await;
    assert!(result.status.is_none() && result.error.is_some(), "{result:?}");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_silent_handshake_ends_with_the_connect_timeout() {
    let receiver = Receiver::start(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let client = CallbackClient::new(local(), SHORT).unwrap();
    let url = format!("https://{}/", receiver.address);
    let result = client.attempt(&attempt(&url, PATIENT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Timeout)), "{result:?}");
    assert!(result.duration < PATIENT / 2);
}

#[tokio::test]
async fn plain_text_behind_https_is_a_tls_failure() {
    let receiver = Receiver::start(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let result = client().attempt(&attempt(&format!("https://{}/", receiver.address), PATIENT)).await;
    assert_eq!(kind(&result), Some(ErrorKind::Tls), "{result:?}");
}
