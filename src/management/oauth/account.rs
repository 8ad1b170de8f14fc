//! The token proxy (ZIS spec §7.9): the account's own token endpoint, for a caller with its client's
//! credentials. Where it leads is the operator's to say, never the caller's.

use serde_json::{Map, Value};

use crate::management::Management;
use crate::management::fault::{About, Refused};
use crate::management::member_reader::{MemberReader, Named, Text, named};
use crate::model::name::IntegrationName;
use crate::model::oauth::endpoint::TokenEndpoint;
use crate::model::oauth::profile::Profile;
use crate::oauth::{AnswerShape, GrantedTokens, OAuthStep, read_response};
use crate::secret::Secret;
use crate::wire::{AccountTokenRequest, Document};

/// The answer of the account's token endpoint.
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
    /// [`Refused::Faulty`] when the request is, or the operator has named no account; when the
    /// endpoint can't be asked.
    pub async fn ask_account(
        &self,
        integration: &str,
        request: Document<AccountTokenRequest>,
    ) -> Result<AccountAnswer, Refused> {
        let integration = IntegrationName::parse(integration)
            .map_err(|rule| Refused::of(About::Integration, format!("integration: {rule}")))?;
        // 1. The question, and whom to ask: the operator has said so, never the caller.
        let body = read(request)?;
        let settings = self.settings();
        let no_account = "integration: no account is known: the operator names it with \
                          zis.subdomain";
        let host = settings.account_host.as_ref();
        let host = host.ok_or_else(|| Refused::of(About::Integration, no_account))?;
        let endpoint = TokenEndpoint::of_account(host, &integration);
        let answer = self.storage()?.provider.relay(endpoint, body).await;
        let failure = answer.as_ref().err().map(ToString::to_string);
        // 2. The step is logged, whatever comes of it.
        let step = OAuthStep {
            step: "account_token",
            operator: "",
            integration: &integration,
            client: None,
            connection: None,
        };
        step.log(failure.as_deref());
        // 3. The answer is passed on as far as it is understood.
        let answer = answer?;
        if !answer.status.is_success() {
            return Ok(AccountAnswer::Denied(answer.status.as_u16()));
        }
        let profile = &Profile::default();
        let shape = AnswerShape { profile, asked_at: self.clock.now(), is_refresh: false };
        let granted = read_response(answer.status, answer.body.expose(), &shape)?;
        Ok(AccountAnswer::Granted(granted))
    }
}

/// The question as it is passed on: what is known of it, and nothing else.
fn read(request: Document<AccountTokenRequest>) -> Result<Secret, Refused> {
    let (request, mut reader) = MemberReader::of(request);
    let mut question = AccountQuestion { reader: &mut reader, members: Map::new() };
    question.add(named!(request.client_id), true);
    question.add(named!(request.client_secret), true);
    question.add(named!(request.grant_type), true);
    question.add(named!(request.code), false);
    question.add(named!(request.code_verifier), false);
    question.add(named!(request.redirect_uri), false);
    question.add(named!(request.refresh_token), false);
    question.add(named!(request.scope), false);
    question.add_number(named!(request.expires_in));
    question.add_number(named!(request.refresh_token_expires_in));
    let text = Value::Object(question.members).to_string();
    reader.close(Some(Secret::new(text)))
}

struct AccountQuestion<'a> {
    reader: &'a mut MemberReader,
    members: Map<String, Value>,
}

impl AccountQuestion<'_> {
    fn add<T: Text>(&mut self, named: Named<T>, is_required: bool) {
        let name = named.0;
        if is_required {
            self.reader.demand(&named);
        }
        let text = self.reader.take_filled(named, About::Request, |text| {
            Ok::<_, Refused>(Value::String(text.to_owned()))
        });
        self.members.extend(text.map(|text| (name.to_owned(), text)));
    }

    fn add_number(&mut self, named: Named<u64>) {
        let name = named.0;
        let number = self.reader.value(named);
        self.members.extend(number.map(|number| (name.to_owned(), number.into())));
    }
}
