//! Signatures of requests to AWS, and to services that speak its protocol (AWS Signature Version 4).

pub mod access;
mod canonical;
pub mod endpoint;
pub mod payload;
pub mod query;
pub mod role;
pub mod signer;
