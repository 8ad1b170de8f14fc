//! The token proxy (ZIS spec §7.9): the account's own token endpoint, for whoever has its client's
//! credentials. Where it leads is the operator's to say, never the caller's.

use serde_json::{Map, Value};

use crate::management::Management;
use crate::management::fault::{About, Fault, Refused};
use crate::management::form::Form;
use crate::model::name::IntegrationName;
use crate::model::oauth::endpoint::TokenEndpoint;
use crate::oauth::{GrantedTokens, OAuthStep, TokenFailure, read_response};
use crate::secret::Secret;

/// What the account's token endpoint has made of a question.
#[derive(Debug)]
pub enum AccountAnswer {
    /// Here are tokens.
    Granted(GrantedTokens),
    /// It says no, with this status.
    Denied(u16),
}

impl Management {
    /// Hands a question to the account's own token endpoint.
    ///
    /// # Errors
    /// [`Refused::Faulty`] when the form is, or the operator has named no account; when the
    /// endpoint can't be asked.
    pub async fn ask_account(
        &self,
        integration: &str,
        form: Form,
    ) -> Result<AccountAnswer, Refused> {
        let fault = |about, title: &str| Refused::Faulty(vec![Fault::new(about, title)]);
        let integration = IntegrationName::parse(integration)
            .map_err(|rule| fault(About::Integration, &format!("integration: {rule}")))?;
        let body = read(form)?;
        let settings = self.settings();
        let no_account = "integration: no account is known: the operator names it with \
                          zis.subdomain";
        let host = settings.account_host.as_ref();
        let host = host.ok_or_else(|| fault(About::Integration, no_account))?;
        let endpoint = TokenEndpoint::of_account(host, &integration);
        let answer = self.storage()?.provider.relay(endpoint, body).await;
        let failure = answer.as_ref().err().map(ToString::to_string);
        let step = OAuthStep {
            step: "account_token",
            operator: "",
            integration: &integration,
            client: None,
            connection: None,
        };
        step.log(failure.as_deref());
        let answer = answer?;
        if !answer.status.is_success() {
            return Ok(AccountAnswer::Denied(answer.status.as_u16()));
        }
        match read_response(true, answer.body.expose()) {
            Ok(granted) => Ok(AccountAnswer::Granted(granted)),
            Err(denial) => Err(TokenFailure::Denied(denial).into()),
        }
    }
}

/// The question as it is passed on: what is known of it, and nothing else.
fn read(mut form: Form) -> Result<Secret, Refused> {
    let mut members = Map::new();
    for (field, must) in FIELDS {
        if must {
            form.demand(field);
        }
        let text = form.take_filled(field, About::Request, |text| {
            Ok::<_, Refused>(Value::String(text.to_owned()))
        });
        members.extend(text.map(|text| (field.to_owned(), text)));
    }
    form.close(Some(Secret::new(Value::Object(members).to_string())))
}

/// What a question is made of, and whether it must be there.
const FIELDS: [(&str, bool); 8] = [
    ("client_id", true),
    ("client_secret", true),
    ("grant_type", true),
    ("code", false),
    ("code_verifier", false),
    ("redirect_uri", false),
    ("refresh_token", false),
    ("scope", false),
];
