//! The data plane: requests of callers, carried to origins with a connection's credential.
//!
//! Owns the journey of a request and every refusal; promises that nothing is sent without a
//! permit and that each request is decided afresh; must never know how connections are stored.

mod admit;
mod arrival;
mod base_url;
mod body;
mod caller;
mod choose;
mod decide;
mod explain;
mod fields;
mod idle;
mod inject;
mod journey;
mod probe;
mod recheck;
mod refusal;
mod relay;
mod renewal;
mod shared;
mod splice;
mod tunnel;
mod upgrade;

use crate::state::{InForce, Renewal, Settings};

pub use arrival::{Destination, ProxyRequest, RequestForm, Tags};
pub use base_url::strip as strip_base_url;
pub use body::AnswerBody;
pub use decide::decide;
pub use explain::{DecisionTrace, RuleOutcome, RuleStep, explain};
pub use fields::{
    Via, prepare_request, prepare_response, prepare_response_trailers, prepare_trailers,
};
pub use journey::Proxy;
pub use probe::Probe;
pub use refusal::{Code, Refusal, Rule};
pub use shared::SharedParts;
pub use tunnel::{TunnelContext, TunnelHandler, TunnelMode, decide as decide_tunnel};
