//! What Prometheus is told, under etcd's names.

mod member;
mod page;

pub use member::{MemberMetrics, member_metrics};
pub use page::{Kind, Page};
