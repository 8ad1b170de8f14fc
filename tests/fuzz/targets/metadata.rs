//! The metadata of an authorization server or a resource, and the answer to a registration. Input: a
//! byte of choices, then the body.
//!
//! Any body is read or refused; only https endpoints come of it, and no refusal repeats a word of it.
#![no_main]

use keyferry::model::oauth::client::AuthMethod;
use keyferry::model::oauth::discovery::ResourceUrl;
use keyferry::model::oauth::profile::Issuer;
use keyferry::oauth::{MetadataError, RegisteredClient, ResourceMetadata, ServerMetadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let refused = match choice % 3 {
        0 => server(body),
        1 => resource(body),
        _ => client(body),
    };
    if let Err(error) = refused {
        assert!(error.to_string().len() < 120, "{error}");
    }
});

fn server(body: &[u8]) -> Result<(), MetadataError> {
    let issuer = Issuer::parse("https://id.example.com").unwrap();
    let read = ServerMetadata::read(&issuer, body)?;
    let urls = [&read.auth_url, &read.revocation_url, &read.registration_url];
    for url in urls.into_iter().flatten().chain([&read.token_url]) {
        assert!(url.resolve(None).unwrap().to_string().starts_with("https://"));
    }
    assert!(["https://id.example.com", "https://id.example.com/"].contains(&read.issuer.as_str()));
    Ok(())
}

fn resource(body: &[u8]) -> Result<(), MetadataError> {
    let url = ResourceUrl::parse("https://mcp.example.com/a/mcp").unwrap();
    let read = ResourceMetadata::read(&url, body)?;
    assert!(url.is_covered_by(&read.resource));
    assert!(read.issuers.len() <= 8 && read.scopes.len() <= 4096);
    assert!(read.scopes.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    Ok(())
}

fn client(body: &[u8]) -> Result<(), MetadataError> {
    let read = RegisteredClient::read(AuthMethod::None, body)?;
    assert_eq!(read.secret.is_empty(), read.auth_method == AuthMethod::None);
    assert!((1..=1024).contains(&read.client_id.len()));
    Ok(())
}
