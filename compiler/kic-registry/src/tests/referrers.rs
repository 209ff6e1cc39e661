use serde_json::json;

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn listed(contents: &[&str]) -> Vec<u8> {
    let one = |content: &&str| json!({ "digest": digest_of(content.as_bytes()), "mediaType": MANIFEST, "size": content.len(), "artifactType": "x" });
    let manifests: Vec<_> = contents.iter().map(one).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string().into_bytes()
}

fn digests(contents: &[&str]) -> Vec<Digest> {
    let mut digests: Vec<Digest> = contents.iter().map(|content| digest_of(content.as_bytes())).collect();
    digests.sort();
    digests
}

async fn ask(server: &ScriptedServer) -> Result<Vec<Digest>, RegistryError> {
    let found = registries().referrers(&image(server, "a/b:v1"), &digest_of(b"subject")).await?;
    Ok(found.into_iter().map(|referrer| referrer.digest).collect())
}

#[tokio::test]
async fn a_list_comes_page_by_page_sorted_and_without_doubles() {
    let server = ScriptedServer::start(|request| {
        let reply = Reply::new(200).header("content-type", INDEX);
        match request.target.as_str() {
            "/v2/a/b/referrers/page?n=2" => reply.body(listed(&["three", "one"])),
            _ => reply
                .header("link", "<page?n=9>; rel=\"prev\", <page?n=2>; rel=\"next\"")
                .body(listed(&["one", "two"])),
        }
    })
    .await;
    assert_eq!(ask(&server).await.unwrap(), digests(&["one", "two", "three"]));
    let first = format!("GET /v2/a/b/referrers/{}", digest_of(b"subject"));
    assert_eq!(server.asked(), [first, "GET /v2/a/b/referrers/page?n=2".to_owned()]);
}

#[tokio::test]
async fn a_registry_without_a_list_is_asked_for_the_tag() {
    for status in [404, 400, 405, 501] {
        let tag = format!("/v2/a/b/manifests/sha256-{}", digest_of(b"subject").hex());
        let server = ScriptedServer::start(move |request| {
            if request.path() == tag {
                Reply::new(200).header("content-type", INDEX).body(listed(&["signature"]))
            } else {
                Reply::new(status)
            }
        })
        .await;
        assert_eq!(ask(&server).await.unwrap(), digests(&["signature"]), "{status}");
        assert_eq!(server.requests().len(), 2);
    }
    // Neither the one nor the other: nothing refers to it.
    let server = ScriptedServer::start(|_| Reply::new(404)).await;
    assert!(ask(&server).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_is_no_empty_list() {
    let server = ScriptedServer::start(|request| match request.number {
        0 => Reply::new(503),
        1 => Reply::new(429).header("retry-after", "0"),
        _ => Reply::new(200).body(listed(&["one"])),
    })
    .await;
    assert_eq!(ask(&server).await.unwrap(), digests(&["one"]));
    let server = ScriptedServer::start(|_| Reply::new(403)).await;
    assert!(matches!(ask(&server).await, Err(RegistryError::Forbidden { .. })));
    let server = ScriptedServer::start(|_| Reply::new(200).body("no list")).await;
    assert!(matches!(ask(&server).await, Err(RegistryError::Garbage { .. })));
}

#[tokio::test]
async fn a_list_without_an_end_and_one_that_leads_elsewhere_are_refused() {
    let many: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    let server = ScriptedServer::start(move |request| {
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        let next = format!("</v2/a/b/referrers/x?n={}>; rel=\"next\"", request.number);
        Reply::new(200).header("link", &next).body(listed(&names))
    })
    .await;
    assert!(matches!(ask(&server).await, Err(RegistryError::Garbage { .. })));
    assert_eq!(server.requests().len(), 2);
    let server = ScriptedServer::start(|_| {
        Reply::new(200).header("link", "<http://elsewhere.example/>; rel=\"next\"").body(listed(&[]))
    })
    .await;
    assert!(matches!(ask(&server).await, Err(RegistryError::Garbage { .. })));
}
