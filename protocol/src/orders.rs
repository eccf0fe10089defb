//! What a host may ask of a supervisor. An order is one line shorter than `PIPE_BUF`, so it arrives whole
//! whichever hosts write at the same time. A newline goes before it too: what somebody else has left unfinished is no part of it.

use crate::text::{Line, parse_number};

/// The longest order in bytes, its newlines included.
pub const MAX_ORDER: usize = 64;

/// An order, as a host writes it and a supervisor reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End the whole tree: this signal now, SIGKILL when `grace_ms` have passed.
    Kill {
        /// The signal's number on this machine.
        signal: u8,
        /// Milliseconds from the first signal to SIGKILL.
        grace_ms: u64,
    },
}

impl Order {
    /// The line for `control`, between two newlines.
    pub fn write(self, buffer: &mut [u8; MAX_ORDER]) -> &[u8] {
        let mut line = Line::new(buffer);
        match self {
            Order::Kill { signal, grace_ms } => {
                line.text(b"\nkill ").number(u64::from(signal)).text(b" ").number(grace_ms).text(b"\n");
            }
        }
        line.done()
    }

    /// The order in a line without its newline, or `None` for anything else: a supervisor ignores what it does not know.
    pub fn parse(line: &[u8]) -> Option<Order> {
        let mut words = line.split(|byte| *byte == b' ');
        let order = match words.next()? {
            b"kill" => Order::Kill {
                signal: u8::try_from(parse_number(words.next()?)?).ok().filter(|signal| (1..=64).contains(signal))?,
                grace_ms: parse_number(words.next()?)?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(order)
    }
}

/// What a supervisor has read of `control` since the last newline. A line longer than an order is none.
#[derive(Debug)]
pub struct Received {
    line: [u8; MAX_ORDER],
    length: usize,
}

impl Default for Received {
    fn default() -> Received {
        Received::new()
    }
}

impl Received {
    /// Nothing yet.
    pub const fn new() -> Received {
        Received { line: [0; MAX_ORDER], length: 0 }
    }

    /// The next byte, and the order that it completes.
    pub fn take(&mut self, byte: u8) -> Option<Order> {
        if byte == b'\n' {
            let order = self.line.get(..self.length).and_then(Order::parse);
            self.length = 0;
            return order;
        }
        if let Some(slot) = self.line.get_mut(self.length) {
            *slot = byte;
        }
        self.length = self.length.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_order_reads_back_as_it_was_written() {
        let order = Order::Kill { signal: 15, grace_ms: u64::MAX };
        let mut buffer = [0; MAX_ORDER];
        let text = core::str::from_utf8(order.write(&mut buffer)).unwrap();
        let line = text.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n')).unwrap();
        assert_eq!(Order::parse(line.as_bytes()), Some(order));
    }

    #[test]
    fn anything_else_is_no_order() {
        for line in ["", "kill", "kill 15", "kill 0 1", "kill 65 1", "kill 15 -1", "kill 15 1 1", "stop 1 1", "kill  15 1"] {
            assert_eq!(Order::parse(line.as_bytes()), None, "{line:?}");
        }
    }

    fn order() -> impl Strategy<Value = Order> {
        (1..=64u8, any::<u64>()).prop_map(|(signal, grace_ms)| Order::Kill { signal, grace_ms })
    }

    /// What a supervisor makes of these bytes.
    fn received(bytes: &[u8]) -> Vec<Order> {
        let mut received = Received::new();
        bytes.iter().filter_map(|byte| received.take(*byte)).collect()
    }

    proptest! {
        #[test]
        fn orders_arrive_whole_and_in_turn_whatever_stands_between_them(
            parts in prop::collection::vec((order(), prop::collection::vec(any::<u8>(), 0..200)), 0..8),
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for (order, noise) in parts {
                expected.push(order);
                bytes.extend(order.write(&mut [0; MAX_ORDER]));
                // A line that is no order, however long, and that nobody has finished.
                bytes.extend(b"x".iter().chain(noise.iter().filter(|byte| **byte != b'\n')));
            }
            prop_assert_eq!(received(&bytes), expected);
        }

        #[test]
        fn any_bytes_are_the_orders_that_their_lines_are(
            lines in prop::collection::vec("(kill [0-9]{1,3} [0-9]{1,70}|kill|[ -~]{0,80}|\\PC{0,30})", 0..8),
        ) {
            let bytes = lines.join("\n").into_bytes();
            let whole: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            let short = whole[..whole.len() - 1].iter().filter(|line| line.len() <= MAX_ORDER);
            prop_assert_eq!(received(&bytes), short.filter_map(|line| Order::parse(line)).collect::<Vec<_>>());
        }
    }
}
