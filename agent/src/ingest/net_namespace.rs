//! NetNamespace.

use serde::Deserialize;
use weft_core::model::{Project, Vnid};

use super::fields::{Invalid, Valid, decode, host_address, invalid, same_as_name};
use crate::store::Object;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    netname: String,
    netid: u64,
    #[serde(rename = "egressIPs")]
    egress_ips: Option<Vec<String>>,
    /// Written by whoever reports; nothing is read from it.
    #[serde(rename = "status")]
    _status: Option<serde::de::IgnoredAny>,
}

/// Validates a NetNamespace. Bad egress addresses become a warning.
pub fn net_namespace(object: &Object) -> Result<Valid<Project>, Invalid> {
    let fields: Fields = decode(object)?;
    same_as_name("netname", &fields.netname, object)?;
    let Ok(vnid) = Vnid::new(fields.netid) else {
        let reason = format!("is {}, must be 0 to {}", fields.netid, Vnid::MAX);
        return invalid("netid", reason);
    };
    let ips = fields.egress_ips.unwrap_or_default();
    let mut bad = ips.iter().enumerate().filter_map(|(index, ip)| {
        let field = format!("egressIPs[{index}]");
        host_address(&field, ip).err()
    });
    Ok(Valid {
        value: Project {
            name: fields.netname,
            vnid,
        },
        warning: bad.next().map(|e| e.to_string()),
    })
}
