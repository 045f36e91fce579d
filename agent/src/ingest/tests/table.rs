//! The table of cases that the schemas of the API are tested with too.

use serde_json::{Map, Value};

use super::super::{cluster_network, egress_network_policy, host_subnet, net_namespace};
use crate::store::Object;

/// Whether an object takes force, with the warning.
fn read(object: &Object) -> Result<Option<String>, String> {
    let text = |error: super::super::Invalid| error.to_string();
    match object.key.kind.as_str() {
        "ClusterNetwork" => cluster_network(object).map(|_| None).map_err(text),
        "HostSubnet" => host_subnet(object).map(|valid| valid.warning).map_err(text),
        "NetNamespace" => net_namespace(object)
            .map(|valid| valid.warning)
            .map_err(text),
        "EgressNetworkPolicy" => {
            let valid = egress_network_policy(object);
            valid
                .value
                .rules
                .as_ref()
                .map(|_| valid.warning)
                .map_err(Clone::clone)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn objects_take_force_as_the_table_says() {
    let table = include_str!("../../../tests/kubernetes/cases.yaml");
    let table: Map<String, Value> = yaml_serde::from_str(table).unwrap();
    let mut count = 0;
    for (kind, of_kind) in table {
        for (verdict, cases) in of_kind.as_object().unwrap() {
            if verdict == "base" {
                continue;
            }
            for case in cases.as_array().unwrap() {
                let mut value = of_kind["base"].clone();
                let fields = value.as_object_mut().unwrap();
                fields.extend(case.as_object().unwrap().clone());
                fields.retain(|_, value| !value.is_null());
                let object = Object::from_value(value).unwrap();
                let got = read(&object);
                let expected = match verdict.as_str() {
                    "accepted" => got == Ok(None),
                    "partly" | "mended" => matches!(got, Ok(Some(_))),
                    "refused" | "incomplete" => got.is_err(),
                    other => panic!("{other}"),
                };
                assert!(expected, "{kind} {case} is {verdict}: {got:?}");
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count} cases were read");
}
