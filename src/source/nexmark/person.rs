//! Persons: who sells and bids.

#![expect(clippy::cast_possible_truncation, reason = "draws are below small bounds")]

use super::event::{Core, Draw, PERSON_ID_FIRST, id};
use super::random::letters;

const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// A person registers.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a>(pub(super) Core<'a>);

impl Person<'_> {
    /// Its number, from 1000 up.
    #[must_use]
    pub fn id(&self) -> i64 {
        id(PERSON_ID_FIRST, self.0.last_person)
    }

    fn names(&self) -> (&'static str, &'static str) {
        let choice = self.0.below(Draw::Name, (FIRST_NAMES.len() * LAST_NAMES.len()) as u64) as usize;
        (FIRST_NAMES[choice % FIRST_NAMES.len()], LAST_NAMES[choice / FIRST_NAMES.len()])
    }

    /// Lengths of the parts before and behind the at sign: 3 to 6 and 3 to 4.
    fn email_lengths(&self) -> (usize, usize) {
        let choice = self.0.below(Draw::EmailLengths, 8) as usize;
        (3 + choice % 4, 3 + choice / 4)
    }

    /// Appends the name: first and last.
    pub fn write_name(&self, out: &mut Vec<u8>) {
        let (first, last) = self.names();
        out.extend_from_slice(first.as_bytes());
        out.push(b' ');
        out.extend_from_slice(last.as_bytes());
    }

    /// Appends the e-mail address.
    pub fn write_email_address(&self, out: &mut Vec<u8>) {
        let (name, host) = self.email_lengths();
        letters(self.0.draw(Draw::EmailName), name, out);
        out.push(b'@');
        letters(self.0.draw(Draw::EmailHost), host, out);
        out.extend_from_slice(b".com");
    }

    /// Appends the credit card's number: four groups of four digits.
    pub fn write_credit_card(&self, out: &mut Vec<u8>) {
        let digits = self.0.below(Draw::CreditCard, 10_u64.pow(16));
        for (group, divisor) in [10_u64.pow(12), 10_u64.pow(8), 10_u64.pow(4), 1].into_iter().enumerate() {
            if group > 0 {
                out.push(b' ');
            }
            let number = digits / divisor % 10_000;
            out.extend([1000, 100, 10, 1].map(|place| b'0' + (number / place % 10) as u8));
        }
    }

    /// The city; not in the state, as in the original.
    #[must_use]
    pub fn city(&self) -> &'static str {
        self.0.pick(Draw::City, &CITIES)
    }

    /// The state: AZ, CA, ID, OR, WA or WY.
    #[must_use]
    pub fn state(&self) -> &'static str {
        self.0.pick(Draw::State, &STATES)
    }

    /// When, milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.0.time_ms
    }

    /// Appends the padding.
    pub fn write_extra(&self, out: &mut Vec<u8>) {
        let (first, last) = self.names();
        let (email_name, email_host) = self.email_lengths();
        let name = first.len() + 1 + last.len();
        let email = email_name + 1 + email_host + 4;
        let size = 8 + name + email + 19 + self.city().len() + self.state().len();
        self.0.write_extra(size, self.0.config.person_bytes, out);
    }
}
