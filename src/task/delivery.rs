//! Where the news of an end stands, and who holds it. It has one holder at most.

/// Where the news of the end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// There is no end yet, or nobody wants to hear of it.
    Silent,
    /// Nobody has it.
    Pending,
    /// A callback failed; it waits for its next attempt.
    BackingOff,
    /// A callback in this process holds it.
    Leased(Lease),
    /// It was accepted.
    Delivered,
}

/// One handing-out of a completion. Its number tells a late answer of a former holder from one of the present holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// No other has it.
    pub number: u32,
    /// To whom.
    pub subscription: u32,
    /// The number of the call that it is for.
    pub attempt: u32,
    /// A callback has been called with it that will say when it is done.
    pub in_callback: bool,
    /// About how many bytes are on their way to the callback; none once that was called.
    pub on_its_way: u32,
}
