//! API objects -> model.
/// News.
pub enum Event {
    /// c
    Changes(Vec<weft_core::model::Change>),
    /// p
    Problems(Vec<weft_core::model::Problem>),
    /// s
    Synced,
}
