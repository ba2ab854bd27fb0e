//! Turns OpenMetrics text into the classic Prometheus text format.
//!
//! The registry encodes OpenMetrics 1.0, where a counter's descriptor lines name the family without its `_total` and the
//! exposition ends in `# EOF`. The classic format (0.0.4, <https://prometheus.io/docs/instrumenting/exposition_formats/>) wants
//! the sample's own name in those lines, and `promtool check metrics` reads nothing else. Samples are never touched.

/// The media type of what `Metrics::encode` returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites the descriptor lines; `open_metrics` is one complete exposition.
pub(super) fn classic(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len() + 1024);
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The type, and with it the name, is known only from the next line.
            help = rest.split_once(' ').map(|(_, text)| text);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some(text) = help.take() {
                push(&mut out, &["# HELP ", name, suffix, " ", text]);
            }
            push(&mut out, &["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            push(&mut out, &[line]);
        }
    }
    out
}

fn push(out: &mut String, parts: &[&str]) {
    out.extend(parts.iter().copied());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::classic;

    #[test]
    fn counters_are_described_under_their_sample_name() {
        let given = "# HELP jobs Jobs done.\n# TYPE jobs counter\njobs_total{kind=\"a\"} 3\n\
                     # HELP depth Depth.\n# TYPE depth gauge\n# UNIT depth bytes\ndepth 2.0\n# EOF\n";
        let wanted = "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{kind=\"a\"} 3\n\
                      # HELP depth Depth.\n# TYPE depth gauge\ndepth 2.0\n";
        assert_eq!(classic(given), wanted);
    }
}
