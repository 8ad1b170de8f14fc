//! The index of the audit trail: what each entry is found by, in some 50 bytes, so that all of a
//! trail is searched by reading a small part of it.
//!
//! A section has the entries of one batch: its id, the number of its entries, the length of what
//! follows, then for each entry numbers of a fixed length and its path. Names are kept as hashes, so
//! that a match may be wrong, and is checked against the entry; what does not match is none.
//! Sections of many batches are joined by writing one behind the other.

use jiff::Timestamp;

use super::line::EntryKeys;

/// Selects entries. An empty list, or `None`, selects all.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Those that arrived then or later.
    pub since: Option<Timestamp>,
    /// Those that arrived before then.
    pub until: Option<Timestamp>,
    /// Those of this integration.
    pub integration: Option<String>,
    /// Those of a connection of this name.
    pub connection: Option<String>,
    /// Those of one of these connections, each with its integration.
    pub reached: Vec<(String, String)>,
    /// Those of this caller.
    pub caller: Option<String>,
    /// Those with this code.
    pub code: Option<String>,
    /// Those that were refused, or those that were not.
    pub is_refused: Option<bool>,
    /// Those with a status between these.
    pub statuses: Option<(u16, u16)>,
    /// Those with this method.
    pub method: Option<String>,
    /// Those whose path at the origin begins so.
    pub path: Option<String>,
    /// The one with this id.
    pub request_id: Option<String>,
}

/// A filter in the form in which the index has what is filtered.
#[derive(Debug)]
pub(super) struct IndexFilter {
    seconds: (u32, u32),
    integration: Option<u16>,
    connection: Option<u32>,
    reached: Vec<(u16, u32)>,
    caller: Option<u32>,
    code: Option<u16>,
    is_refused: Option<bool>,
    statuses: (u16, u16),
    method: Option<u16>,
    path: Vec<u8>,
    request_id: Option<u32>,
}

/// The index of some batches, as a row has it.
#[derive(Debug, Default)]
pub(super) struct IndexRow {
    /// The first and the last of the batches.
    pub(super) batches: (i64, i64),
    /// The second in which the oldest entry arrived, and that of the newest.
    pub(super) seconds: (i64, i64),
    pub(super) data: Vec<u8>,
}

impl IndexRow {
    /// The index of one batch.
    pub(super) fn of(batch: i64, lines: &str) -> Self {
        let mut row = Self { batches: (batch, batch), seconds: (i64::MAX, 0), data: Vec::new() };
        // 1. The section's head, whose length is known at the end.
        row.data.extend_from_slice(&batch.to_le_bytes());
        row.data.resize(SECTION_HEAD_LEN, 0);
        // 2. Each line.
        let mut count = 0_u32;
        for line in lines.lines() {
            let keys = EntryKeys::read(line);
            row.seconds = (row.seconds.0.min(keys.second), row.seconds.1.max(keys.second));
            push_entry(&mut row.data, &keys);
            count += 1;
        }
        // 3. The head.
        let length = u32::try_from(row.data.len() - SECTION_HEAD_LEN).unwrap_or(u32::MAX);
        let numbers = [count.to_le_bytes(), length.to_le_bytes()].concat();
        if let Some(head) = row.data.get_mut(8..SECTION_HEAD_LEN) {
            head.copy_from_slice(&numbers);
        }
        row
    }

    /// Adds the index of later batches.
    pub(super) fn append(&mut self, later: &Self) {
        if self.data.is_empty() {
            (self.batches, self.seconds) = (later.batches, later.seconds);
        }
        self.batches.1 = later.batches.1;
        self.seconds = (self.seconds.0.min(later.seconds.0), self.seconds.1.max(later.seconds.1));
        self.data.extend_from_slice(&later.data);
    }
}

/// Calls `visit` with each batch of an index's data, and the numbers of its lines that match. A
/// damaged end is passed over.
pub(super) fn search(data: &[u8], filter: &IndexFilter, mut visit: impl FnMut(i64, Vec<u32>)) {
    let mut rest = data;
    while let Some((head, after)) = rest.split_first_chunk::<SECTION_HEAD_LEN>() {
        let [b0, b1, b2, b3, b4, b5, b6, b7, _, _, _, _, l0, l1, l2, l3] = *head;
        let batch = i64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some((entries, next)) = after.split_at_checked(length) else { return };
        visit(batch, matching_lines(entries, filter));
        rest = next;
    }
}

fn matching_lines(mut entries: &[u8], filter: &IndexFilter) -> Vec<u32> {
    let (mut found, mut line) = (Vec::new(), 0);
    while let Some((numbers, after)) = entries.split_first_chunk::<ENTRY_LEN>() {
        let Some((path, next)) = after.split_at_checked(usize::from(numbers[ENTRY_LEN - 1])) else {
            break;
        };
        if filter.selects(numbers, path) {
            found.push(line);
        }
        (entries, line) = (next, line + 1);
    }
    found
}

impl IndexFilter {
    pub(super) fn of(filter: &EntryFilter) -> Self {
        let path = filter.path.as_deref().unwrap_or_default();
        Self {
            seconds: (
                filter.since.map_or(0, |time| second(time.as_second())),
                filter.until.map_or(u32::MAX, |time| second(time.as_second())),
            ),
            integration: filter.integration.as_deref().map(short_hash),
            connection: filter.connection.as_deref().map(hash),
            reached: filter.reached.iter().map(|(of, name)| (short_hash(of), hash(name))).collect(),
            caller: filter.caller.as_deref().map(hash),
            code: filter.code.as_deref().map(short_hash),
            is_refused: filter.is_refused,
            statuses: filter.statuses.unwrap_or((0, u16::MAX)),
            method: filter.method.as_deref().map(short_hash),
            path: path.as_bytes().iter().take(MAX_PATH_LEN).copied().collect(),
            request_id: filter.request_id.as_deref().map(hash),
        }
    }

    /// The seconds in which what is selected arrived.
    pub(super) fn seconds(&self) -> (i64, i64) {
        (self.seconds.0.into(), self.seconds.1.into())
    }

    fn reaches(&self, integration: u16, connection: u32) -> bool {
        self.reached.is_empty() || self.reached.contains(&(integration, connection))
    }

    fn selects(&self, numbers: &[u8; ENTRY_LEN], path: &[u8]) -> bool {
        // 1. The numbers, as they were written.
        let [
            s0,
            s1,
            s2,
            s3,
            i0,
            i1,
            i2,
            i3,
            n0,
            n1,
            n2,
            n3,
            c0,
            c1,
            c2,
            c3,
            g0,
            g1,
            k0,
            k1,
            t0,
            t1,
            m0,
            m1,
            _,
        ] = *numbers;
        let second = u32::from_le_bytes([s0, s1, s2, s3]);
        let status = u16::from_le_bytes([t0, t1]);
        let is = |wanted: Option<u32>, bytes| {
            wanted.is_none_or(|wanted| wanted == u32::from_le_bytes(bytes))
        };
        let is_short = |wanted: Option<u16>, bytes| {
            wanted.is_none_or(|wanted| wanted == u16::from_le_bytes(bytes))
        };
        // 2. All of them must match.
        (self.seconds.0..=self.seconds.1).contains(&second)
            && (self.statuses.0..=self.statuses.1).contains(&status)
            && is(self.request_id, [i0, i1, i2, i3])
            && is(self.caller, [c0, c1, c2, c3])
            && is_short(self.code, [k0, k1])
            && self
                .is_refused
                .is_none_or(|wanted| wanted == (u16::from_le_bytes([k0, k1]) != short_hash("")))
            && is_short(self.method, [m0, m1])
            && is(self.connection, [n0, n1, n2, n3])
            && is_short(self.integration, [g0, g1])
            && self.reaches(u16::from_le_bytes([g0, g1]), u32::from_le_bytes([n0, n1, n2, n3]))
            && path.starts_with(&self.path)
    }
}

fn push_entry(data: &mut Vec<u8>, keys: &EntryKeys<'_>) {
    let path = keys.path.as_bytes();
    let path = path.get(..MAX_PATH_LEN).unwrap_or(path);
    data.extend_from_slice(&second(keys.second).to_le_bytes());
    for name in [&keys.request_id, &keys.connection, &keys.caller] {
        data.extend_from_slice(&hash(name).to_le_bytes());
    }
    for name in [&keys.integration, &keys.code] {
        data.extend_from_slice(&short_hash(name).to_le_bytes());
    }
    data.extend_from_slice(&keys.status.to_le_bytes());
    data.extend_from_slice(&short_hash(&keys.method).to_le_bytes());
    data.push(u8::try_from(path.len()).unwrap_or(0));
    data.extend_from_slice(path);
}

fn second(second: i64) -> u32 {
    u32::try_from(second.max(0)).unwrap_or(u32::MAX)
}

/// FNV-1a, whose values are the same in every version: they are stored.
fn hash(text: &str) -> u32 {
    let whole = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u32::try_from((whole >> 32) ^ (whole & 0xffff_ffff)).unwrap_or_default()
}

fn short_hash(text: &str) -> u16 {
    let whole = hash(text);
    u16::try_from((whole >> 16) ^ (whole & 0xffff)).unwrap_or_default()
}

/// The id of the batch, the number of entries, and the length of what follows, in bytes.
const SECTION_HEAD_LEN: usize = 16;

/// The length of an entry's numbers, of which the last is the length of its path.
const ENTRY_LEN: usize = 25;

/// The longest part of a path that the index has, in bytes.
const MAX_PATH_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, connection: &str, path: &str, status: u16) -> String {
        format!(
            "{{\"time\":\"2026-11-30T19:00:{:02}.000Z\",\"request_id\":\"i-{number}\",\"caller\":\
             \"ci\",\"integration\":\"shop\",\"connection\":\"{connection}\",\"method\":\"GET\",\
             \"origin\":\"https://a\",\"path\":\"{path}\",\"form\":\"absolute\",\"code\":\"\",\
             \"status\":{status}}}\n",
            number % 60
        )
    }

    fn found(row: &IndexRow, filter: &EntryFilter) -> Vec<(i64, Vec<u32>)> {
        let mut found = Vec::new();
        search(&row.data, &IndexFilter::of(filter), |batch, lines| found.push((batch, lines)));
        found.retain(|(_, lines)| !lines.is_empty());
        found
    }

    fn rows() -> IndexRow {
        let first = [line(1, "api", "/v1/a", 200), line(2, "crm", "/v1/b", 404)].concat();
        let second = [line(3, "api", "/v2", 502), line(4, "api", &"/x".repeat(99), 200)].concat();
        let mut row = IndexRow::default();
        row.append(&IndexRow::of(7, &first));
        row.append(&IndexRow::of(9, &second));
        row
    }

    #[test]
    fn entries_are_found_in_every_batch_of_a_row() {
        let row = rows();
        assert_eq!((row.batches, row.seconds.1 - row.seconds.0), ((7, 9), 3));
        let all = vec![(7, vec![0, 1]), (9, vec![0, 1])];
        assert_eq!(found(&row, &EntryFilter::default()), all);
        let api = EntryFilter { connection: Some("api".to_owned()), ..EntryFilter::default() };
        assert_eq!(found(&row, &api), [(7, vec![0]), (9, vec![0, 1])]);
        let failed = EntryFilter { statuses: Some((500, 599)), ..api.clone() };
        assert_eq!(found(&row, &failed), [(9, vec![0])]);
        let long = EntryFilter { path: Some("/x".repeat(99)), ..api };
        assert_eq!(found(&row, &long), [(9, vec![1])]);
        let one = EntryFilter { request_id: Some("i-2".to_owned()), ..EntryFilter::default() };
        assert_eq!(found(&row, &one), [(7, vec![1])]);
    }

    #[test]
    fn a_damaged_index_finds_what_is_whole() {
        let row = rows();
        for end in 0..row.data.len() {
            let cut = IndexRow { data: row.data[..end].to_vec(), ..IndexRow::default() };
            assert!(found(&cut, &EntryFilter::default()).len() <= 1);
        }
    }
}
