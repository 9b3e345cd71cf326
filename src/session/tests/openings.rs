//! Openings that nobody waits for any more, of a file whose ffprobe is a script.

use super::*;
use crate::{
    hub::VideoDirs,
    source::hanging::{Begun, Hanging},
};

/// A client that waits for a device which does not open.
async fn opening(hanging: &Hanging) -> (World, Client, Begun) {
    let video_dirs = vec![hanging.path().parent().unwrap().to_owned()];
    let video_dirs = VideoDirs::new(move || video_dirs.clone());
    let world = World::with(HubSettings { sources: hanging.options(), video_dirs, ..HubSettings::default() });
    let mut client = world.client(16);
    let source = json!({"kind": "file", "path": hanging.path()});
    client.send(&json!({"id": 1, "type": "stream.open", "stream_id": "s", "source": source})).await;
    let begun = hanging.begun().await;
    (world, client, begun)
}

#[tokio::test]
async fn a_stream_can_be_closed_while_it_is_being_opened() {
    let hanging = Hanging::new();
    let (_world, mut client, begun) = opening(&hanging).await;
    client.send(&json!({"id": 2, "type": "stream.close", "stream_id": "s"})).await;
    client.send(&json!({"id": 3, "type": "stream.close", "stream_id": "s"})).await;
    assert_eq!(client.receive().await["error"]["code"], "failed_precondition", "it is being closed already");
    let opened = client.receive().await;
    assert_eq!((&opened["id"], &opened["error"]["code"]), (&json!(1), &json!("aborted")), "{opened}");
    let closed = client.receive().await;
    assert_eq!((&closed["id"], &closed["ok"]["stream_id"]), (&json!(2), &json!("s")), "{closed}");
    begun.given_up().await;
    client.open("s").await;
}

#[tokio::test]
async fn hello_gives_up_what_is_being_opened() {
    let hanging = Hanging::new();
    let (_world, mut client, begun) = opening(&hanging).await;
    client.send(&json!({"id": 2, "type": "stream.close", "stream_id": "s"})).await;
    client.send(&json!({"id": 3, "type": "hello", "protocol": 1})).await;
    client.send(&json!({"id": 4, "type": "stream.open", "stream_id": "s", "source": {"kind": "extension"}})).await;
    let mut answers = BTreeMap::new();
    while answers.len() < 4 {
        let answer = client.receive().await;
        answers.insert(answer["id"].as_u64().unwrap(), answer);
    }
    assert_eq!((&answers[&1]["error"]["code"], &answers[&2]["error"]["code"]), (&json!("aborted"), &json!("aborted")));
    assert!(answers[&3]["ok"].is_object() && answers[&4]["ok"].is_object(), "{answers:?}");
    begun.given_up().await;
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_no_opening_behind() {
    let hanging = Hanging::new();
    let (_world, client, begun) = opening(&hanging).await;
    drop(client.bodies);
    assert_eq!(client.session.await.unwrap(), Ended::Normally);
    begun.given_up().await;
}
