//! The health of connections, as several instances store it.

use jiff::{SignedDuration, Timestamp};
use keyferry::model::connection_health::ConnectionHealth;
use keyferry::store::HealthRow;

use super::{Home, of_both};

of_both!(a_refused_caller_takes_no_health_away, later_health_replaces_earlier);

/// A row of the connection `api` of which this was noted.
fn noted(at: Timestamp, status: u16, refused: Option<&'static str>) -> [HealthRow; 1] {
    let mut health = ConnectionHealth::default();
    health.note(at.as_second(), status, refused, || "i-1".to_owned());
    [HealthRow { integration: "acme".into(), connection: "api".into(), health, is_afresh: false }]
}

/// The number of rows and of today's uses that are left of what two instances have stored.
async fn left(home: &Home, later: (u16, Option<&'static str>)) -> (usize, u16) {
    let store = home.open().await;
    let failed = Timestamp::now() - SignedDuration::from_hours(3);
    let now = failed + SignedDuration::from_hours(2);
    store.write_stats("first", failed, &[], &noted(failed, 401, None)).await.unwrap();
    store.write_stats("second", now, &[], &noted(now, later.0, later.1)).await.unwrap();
    let kept = now - SignedDuration::from_hours(24);
    let then = now + SignedDuration::from_hours(1);
    store.prune_stats(then, kept, kept).await.unwrap();
    let rows = store.health(None, None, "third").await.unwrap();
    let mut merged = ConnectionHealth::default();
    for row in &rows {
        merged.merge(&row.health);
    }
    (rows.len(), merged.status)
}

async fn a_refused_caller_takes_no_health_away(home: Home) {
    assert_eq!(left(&home, (403, Some("DomainNotAllowed"))).await, (2, 401));
}

async fn later_health_replaces_earlier(home: Home) {
    assert_eq!(left(&home, (200, None)).await, (1, 200));
}
