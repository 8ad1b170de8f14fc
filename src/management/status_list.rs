//! Lists of connections with their states: searched, filtered, in an order of choice, by pages.

use std::cell::OnceCell;
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use jiff::Timestamp;

use super::connections::ReadAccess;
use super::listing::{ListPage, cut};
use super::status::{ConnectionStatus, KnownHealth, State};
use crate::model::connection::ConnectionType;
use crate::model::connection_health::ConnectionHealth;
use crate::model::{named_enum, parsed_by_name};
use crate::state::RegisteredConnection;
use crate::store::PageRange;

/// Selects connections, and says in which order they are wanted.
#[derive(Clone, Debug)]
pub struct StatusFilter<'a> {
    /// A text that their name or allowed domain contains, in whatever case.
    pub text: &'a str,
    /// Of which type they are.
    pub kind: Option<ConnectionType>,
    /// The name of their state, or the one of all in which somebody must act.
    pub state: Option<&'a str>,
    /// The order of the list.
    pub order: StatusOrder,
    /// The part of the list that is wanted, by [`StatusOrder::cursor`].
    pub window: PageRange,
    /// The number of connections that need attention, of all, that are wanted beside.
    pub attention: usize,
}

/// The connections that were found.
#[derive(Clone, Debug)]
pub struct StatusPage {
    /// The part that is wanted.
    pub page: ListPage<ConnectionStatus>,
    /// Tells whether there is more in the other direction.
    pub has_others: bool,
    /// The number that was found in all.
    pub found: usize,
    /// The number within the token's reach.
    pub all: usize,
    /// Those that need attention, the most failures first, as far as they were asked for.
    pub attention: Vec<ConnectionStatus>,
    /// The number of all of these; 0 where none were asked for.
    pub needing: usize,
    /// Those whose callers were refused of late, the most refusals first, as far as they were asked
    /// for.
    pub refused: Vec<ConnectionStatus>,
}

named_enum! {
    /// The facts by which connections are sorted.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum StatusKey {
        /// Their names.
        #[default]
        Name = "name",
        /// Their states, the one that is most urgent first.
        State = "state",
        /// The time of their last use.
        Used = "used",
        /// The time of their last failure.
        Error = "error",
        /// The number of their requests today.
        Requests = "requests",
        /// The share of their requests that fail.
        Failed = "failed",
    }
}

parsed_by_name!(StatusKey);

/// The order of a list of connections. Those that are equal in it are in the order of their names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StatusOrder {
    /// The fact that decides.
    pub key: StatusKey,
    /// Tells whether the largest is first.
    pub is_descending: bool,
}

impl StatusOrder {
    /// Reads the name of a fact, which a hyphen before it makes descending.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix('-');
        let key = StatusKey::parse(name.unwrap_or(text)).ok()?;
        Some(Self { key, is_descending: name.is_some() })
    }

    /// The place of a connection in this order, as a page's window names it.
    pub fn cursor(self, status: &ConnectionStatus, now: Timestamp) -> String {
        let name = status.name.as_str();
        match self.key {
            StatusKey::Name => name.to_owned(),
            key => format!("{}:{name}", key.value(&status.health, status.state, now)),
        }
    }

    /// Compares a connection with a place that a window names. A place that can't be read is before
    /// all.
    fn compare_place(self, (value, name): (u64, &str), place: &str) -> Ordering {
        if self.key == StatusKey::Name {
            return self.compare((0, name), (0, place));
        }
        let place = place.split_once(':');
        let place = place.and_then(|(value, name)| Some((value.parse().ok()?, name)));
        place.map_or(Ordering::Greater, |place| self.compare((value, name), place))
    }

    fn compare(self, (value, name): (u64, &str), (other, others_name): (u64, &str)) -> Ordering {
        let directed = |order: Ordering| if self.is_descending { order.reverse() } else { order };
        match self.key {
            StatusKey::Name => directed(name.cmp(others_name)),
            _ => directed(value.cmp(&other)).then_with(|| name.cmp(others_name)),
        }
    }
}

impl StatusKey {
    /// The value by which a connection is sorted.
    fn value(self, health: &ConnectionHealth, state: State, now: Timestamp) -> u64 {
        let moment = |second: i64| u64::try_from(second).unwrap_or(0);
        match self {
            Self::Name => 0,
            Self::State => state.urgency(),
            Self::Used => moment(health.last_used),
            Self::Error => health.failure.as_ref().map_or(0, |failure| moment(failure.at)),
            Self::Requests => health.used_today(now.as_second()).into(),
            Self::Failed => {
                let (requests, failed) = health.window_totals();
                failed * 1_000_000 / requests.max(1)
            }
        }
    }
}

impl State {
    /// Its place among all, from what somebody should look at first.
    fn urgency(self) -> u64 {
        match self {
            Self::Failing(_) | Self::Rejected(_) | Self::NewSecretRefused => 0,
            Self::CommandFailed | Self::SealBroken | Self::KeyMissing(_) | Self::Defective(_) => 1,
            Self::NeedsAuthorization | Self::NeedsDomain => 2,
            Self::Works => 3,
            Self::Unused => 4,
            Self::SwitchedOff => 5,
        }
    }
}

/// A connection of the list, whose health is looked at where it matters.
struct Candidate<'l> {
    listing: &'l Arc<RegisteredConnection>,
    standing: OnceCell<(ConnectionHealth, State)>,
}

impl Candidate<'_> {
    fn standing(&self, known: &KnownHealth, now: Timestamp) -> &(ConnectionHealth, State) {
        self.standing.get_or_init(|| {
            let health = known.of(self.listing);
            let state = State::of(&self.listing.connection, &health, now);
            (health, state)
        })
    }

    fn name(&self) -> &str {
        self.listing.connection.name().as_str()
    }

    fn status(&self, known: &KnownHealth, now: Timestamp) -> ConnectionStatus {
        let (health, _) = self.standing(known, now);
        ConnectionStatus::of(self.listing, health.clone(), now)
    }
}

impl ReadAccess<'_> {
    /// Finds the states of connections, in the order that is wanted.
    pub async fn status_page(&self, search: &StatusFilter<'_>) -> StatusPage {
        let (registry, now) = (self.management.registry(), self.management.clock.now());
        let known = self.management.health_of(Some(self.integration.as_str()), None).await;
        // 1. Those within reach, and of these the ones that need somebody, and the ones wanted.
        let within: Vec<_> = registry
            .listed_in(self.integration.as_str())
            .filter(|listing| self.operator.reaches(&self.integration, listing.connection.name()))
            .map(|listing| Candidate { listing, standing: OnceCell::new() })
            .collect();
        let needing = search.needing(&within, &known, now);
        let refused = search.refused(&within, &known, now);
        let order = search.order;
        let value = |candidate: &Candidate<'_>| match order.key {
            StatusKey::Name => 0,
            key => {
                let (health, state) = candidate.standing(&known, now);
                key.value(health, *state, now)
            }
        };
        let mut found: Vec<_> = within
            .iter()
            .filter(|candidate| search.wants(candidate, &known, now))
            .map(|candidate| (value(candidate), candidate))
            .collect();
        // 2. The part of their order that is wanted.
        found.sort_unstable_by(|(one, a), (other, b)| {
            order.compare((*one, a.name()), (*other, b.name()))
        });
        let (after, before) = (search.window.after.as_deref(), search.window.before.as_deref());
        let is_inside = |(value, candidate): &&(u64, &Candidate<'_>)| {
            let to = |place: &str| order.compare_place((*value, candidate.name()), place);
            after.is_none_or(|after| to(after).is_gt())
                && before.is_none_or(|before| to(before).is_lt())
        };
        let inside: Vec<_> = found.iter().filter(is_inside).map(|(_, it)| *it).collect();
        let page = cut(inside, &search.window, false);
        // 3. Their states.
        let statuses = |them: Vec<&Candidate<'_>>| {
            them.into_iter().map(|it| it.status(&known, now)).collect::<Vec<_>>()
        };
        StatusPage {
            page: ListPage { items: statuses(page.items), has_more: page.has_more },
            has_others: after.is_some() || before.is_some(),
            found: found.len(),
            all: within.len(),
            needing: needing.len(),
            attention: statuses(needing.into_iter().take(search.attention).collect()),
            refused: statuses(refused),
        }
    }
}

impl StatusFilter<'_> {
    fn wants(&self, candidate: &Candidate<'_>, known: &KnownHealth, now: Timestamp) -> bool {
        let connection = &candidate.listing.connection;
        self.kind.is_none_or(|kind| kind == connection.kind())
            && (contains(connection.name().as_str(), self.text)
                || connection.domains().any(|it| contains(&it.to_string(), self.text)))
            && self.state.is_none_or(|name| candidate.standing(known, now).1.is_among(name))
    }

    /// Those that need attention, the most failures first; none where none are wanted.
    fn needing<'c, 'l>(
        &self,
        within: &'c [Candidate<'l>],
        known: &KnownHealth,
        now: Timestamp,
    ) -> Vec<&'c Candidate<'l>> {
        if self.attention == 0 {
            return Vec::new();
        }
        let failures = |candidate: &'c Candidate<'l>| {
            let (health, state) = candidate.standing(known, now);
            let failed = health.failure_summary().map_or(0, |summary| summary.failed);
            state.needs_attention().then_some((Reverse(failed), candidate))
        };
        let mut found: Vec<_> = within.iter().filter_map(failures).collect();
        found.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.name().cmp(other.name())));
        found.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// Those whose callers were refused of late, the most refusals first; none where none are wanted.
    fn refused<'c, 'l>(
        &self,
        within: &'c [Candidate<'l>],
        known: &KnownHealth,
        now: Timestamp,
    ) -> Vec<&'c Candidate<'l>> {
        if self.attention == 0 {
            return Vec::new();
        }
        let refusals = |candidate: &'c Candidate<'l>| {
            let (health, _) = candidate.standing(known, now);
            let number = health.refusals.of_late(now.as_second());
            (number > 0).then_some((Reverse(number), candidate))
        };
        let mut found: Vec<_> = within.iter().filter_map(refusals).collect();
        found.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.name().cmp(other.name())));
        found.into_iter().map(|(_, candidate)| candidate).take(self.attention).collect()
    }
}

/// Returns whether `whole` contains `text`, both being letters that have one lower case.
fn contains(whole: &str, text: &str) -> bool {
    text.is_empty() || whole.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> StatusOrder {
        StatusOrder::parse(text).unwrap()
    }

    #[test]
    fn what_is_equal_is_in_the_order_of_names_in_either_direction() {
        let mut places = [(2, "b"), (1, "c"), (2, "a"), (0, "d")];
        let names = |places: &[(u64, &'static str)]| {
            places.iter().map(|(_, name)| *name).collect::<String>()
        };
        places.sort_by(|one, other| order("used").compare(*one, *other));
        assert_eq!(names(&places), "dcab");
        places.sort_by(|one, other| order("-used").compare(*one, *other));
        assert_eq!(names(&places), "abcd");
        places.sort_by(|one, other| order("-name").compare(*one, *other));
        assert_eq!(names(&places), "dcba");
    }

    #[test]
    fn a_place_is_found_again_though_its_connection_is_gone() {
        assert_eq!(order("-used").compare_place((3, "b"), "3:a"), Ordering::Greater);
        assert_eq!(order("-used").compare_place((4, "z"), "3:a"), Ordering::Less);
        assert_eq!(order("-used").compare_place((2, "a"), "3:a"), Ordering::Greater);
        assert_eq!(order("name").compare_place((0, "b"), "a"), Ordering::Greater);
        assert_eq!(order("-name").compare_place((0, "b"), "a"), Ordering::Less);
        // What is no place of this order is before all.
        assert_eq!(order("state").compare_place((0, "a"), "z"), Ordering::Greater);
    }

    #[test]
    fn an_order_is_read_by_its_name_alone() {
        assert_eq!(StatusOrder::parse("name"), Some(StatusOrder::default()));
        assert!(order("-failed").is_descending);
        for text in ["", "-", "--used", "Name", "size"] {
            assert_eq!(StatusOrder::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_share_of_failures_decides_and_not_their_number() {
        let now = Timestamp::from_second(1000).unwrap();
        let health = |worked: u32, failed: u32| {
            let mut health = ConnectionHealth::default();
            (0..worked).for_each(|_| health.note(1000, 200, None, String::new));
            (0..failed).for_each(|_| health.note(1000, 503, None, String::new));
            StatusKey::Failed.value(&health, State::Works, now)
        };
        assert!(health(1, 1) > health(90, 10) && health(90, 10) > health(5, 0));
        assert_eq!(health(0, 0), 0);
    }
}
