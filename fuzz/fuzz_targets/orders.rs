//! What stands in `control`: any bytes are read to their end, and what is an order reads back as it would be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outlive_protocol::orders::{MAX_ORDER, Order, Received};

fuzz_target!(|bytes: &[u8]| {
    let mut received = Received::new();
    for byte in bytes {
        if let Some(order) = received.take(*byte) {
            let mut buffer = [0; MAX_ORDER];
            let line = order.write(&mut buffer);
            assert_eq!(Order::parse(&line[1..line.len() - 1]), Some(order));
        }
    }
});
