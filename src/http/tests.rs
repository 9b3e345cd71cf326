use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

use super::*;
use crate::{
    access::Grants,
    models::{ModelStore, StoreOptions, Upstream},
};

/// The loopback port, with nothing behind it.
async fn serve_nothing() -> SocketAddr {
    let dir = std::path::PathBuf::from("/nonexistent");
    let store = ModelStore::new(StoreOptions { cache_dir: dir.join("hub"), state_dir: dir.join("state") });
    let service = Service {
        access: Access::new(Grants::default()).unwrap(),
        activity: Activity::default(),
        routes: Routes::default(),
        models: SharedModels::new(store, Upstream::off()),
        streams: Streams::default(),
        shutdown: CancellationToken::new(),
        places: Places::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, service));
    address
}

/// Asks on a connection that goes on, and tells the status.
async fn ask(client: &mut TcpStream, host: &str) -> Option<u16> {
    client.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = vec![0; 4096];
    let len = client.read(&mut answer).await.ok()?;
    String::from_utf8_lossy(&answer[..len]).split(' ').nth(1)?.parse().ok()
}

/// Sends a byte a second until the connection ends, and tells how long that took.
async fn drip(client: &mut TcpStream, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    for byte in bytes.iter().cycle() {
        assert!(began.elapsed() < UNKNOWN_LIMIT * 4, "still there");
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
        let mut end = [0; 1];
        match tokio::time::timeout(Duration::from_secs(1), client.read(&mut end)).await {
            Ok(Ok(1)) | Err(_) => {}
            Ok(Ok(_) | Err(_)) => break,
        }
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_begin_is_cut() {
    let mut client = TcpStream::connect(serve_nothing().await).await.unwrap();
    let began = Instant::now();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(began.elapsed() < SILENCE_LIMIT * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut_on_a_connection_that_was_let_pass_too() {
    let address = serve_nothing().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut client, &address.to_string()).await, Some(200));
    let took = drip(&mut client, b"GET /a").await;
    assert!(took < SILENCE_LIMIT * 2, "{took:?}");
}

// Wine does not always know whose a connection is.
#[cfg_attr(windows, ignore = "needs a system that says whose each of two connections is")]
#[tokio::test(start_paused = true)]
async fn who_asks_only_for_what_he_may_not_have_is_cut() {
    let address = serve_nothing().await;
    let (mut denied, mut allowed) =
        (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < UNKNOWN_LIMIT * 2, "still there");
        assert_eq!(ask(&mut allowed, &address.to_string()).await, Some(200));
        match ask(&mut denied, "evil.example").await {
            Some(status) => assert_eq!(status, 403),
            None => break,
        }
        sleep(SILENCE_LIMIT / 4).await;
    }
    assert!(began.elapsed() >= UNKNOWN_LIMIT);
    assert_eq!(ask(&mut allowed, &address.to_string()).await, Some(200), "who may goes on");
}

#[tokio::test]
async fn strangers_take_no_places_of_the_users() {
    let places = Places::default();
    let strangers: Vec<_> = (0..MAX_STRANGERS / 2)
        .flat_map(|_| [Peer::OtherUser, Peer::Unknown])
        .map(|peer| places.take(peer).unwrap())
        .collect();
    assert!(places.take(Peer::OtherUser).is_none() && places.take(Peer::Unknown).is_none());
    let own: Vec<_> = (0..MAX_CONNECTIONS).map(|_| places.take(Peer::SameUser).unwrap()).collect();
    assert!(places.take(Peer::SameUser).is_none());
    drop(strangers);
    assert!(places.take(Peer::SameUser).is_none() && places.take(Peer::OtherUser).is_some());
    drop(own);
}
