//! Rules of the requests that a connection or a token may be used for, as options.

use crate::model::rules::WrittenRule;
use crate::wire::RuleMembers;

/// The members of rules; `None` where no rule is given.
pub(super) fn members(rules: &[WrittenRule]) -> Option<Vec<RuleMembers>> {
    let members = rules.iter().cloned().map(RuleMembers::from);
    (!rules.is_empty()).then(|| members.collect())
}

pub(super) const RULE_HELP: &str = "Rule of the requests that it may be used for, as 'allow GET \
                                    /v1/**' or 'deny /admin/**'; the first that matches decides; \
                                    may be given several times";
