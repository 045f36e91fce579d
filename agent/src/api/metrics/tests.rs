use super::*;

#[test]
fn a_family_is_written_as_prometheus_reads_it() {
    let drops = drops_of(|reason| u64::from(reason == DropReason::EgressDenied) * 3);
    let nodes = Family::gauge("weft_nodes", "Nodes known").one(2);
    let text = written(vec![nodes, drops]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "# HELP weft_nodes Nodes known");
    assert_eq!(lines[1], "# TYPE weft_nodes gauge");
    assert_eq!(lines[2], "weft_nodes 2");
    assert_eq!(lines[4], "# TYPE weft_drops counter");
    assert!(lines.contains(&"weft_drops_total{reason=\"EgressDenied\"} 3"));
    // Reasons without a drop are there from the start: a rate needs their zero.
    assert!(lines.contains(&"weft_drops_total{reason=\"Isolated\"} 0"));
    assert_eq!(lines.len(), 3 + 2 + DropReason::ALL.len() + 1);
    assert_eq!(lines.last(), Some(&"# EOF"));
}

#[test]
fn learning_is_told_of_projects_with_a_pod_here() {
    let row = LearningRow {
        learned: 4,
        evicted: 1,
        ..LearningRow::default()
    };
    let rows = ["shop", "away"].map(|name| (project_key(name), row)).into();
    let text = written(learning(&super::super::fixture::world(), &rows).into());
    for line in [
        "weft_dns_learned_total{namespace=\"shop\"} 4",
        "weft_dns_evicted_total{namespace=\"shop\"} 1",
        "weft_dns_refused_total{namespace=\"shop\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in:\n{text}");
    }
    assert!(!text.contains("away"), "{text}");
}

#[test]
fn requests_are_told_by_command_and_outcome() {
    let metrics = cni::metrics::Metrics::default();
    metrics.record("ADD", true, Duration::from_millis(3));
    metrics.record("ADD", false, Duration::from_secs(1));
    let text = written(requests(&metrics).into());
    for line in [
        "weft_cni_requests_total{verb=\"ADD\",result=\"ok\"} 1",
        "weft_cni_requests_total{verb=\"ADD\",result=\"error\"} 1",
        "weft_cni_requests_total{verb=\"GC\",result=\"error\"} 0",
        "weft_cni_request_duration_seconds_count{verb=\"ADD\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in:\n{text}");
    }
}
