//! The percentiles of latencies as a picture: SVG, with the percentile by its number of nines and the time as a logarithm.

use std::fmt::Write as _;

use super::report::{Percentiles, Report};
use super::rounded;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// The plane of the curves.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 736.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 380.0;

/// The percentiles that are marked.
const PERCENTILES: [(&str, f64); 6] =
    [("50", 0.5), ("90", 0.9), ("99", 0.99), ("99.9", 0.999), ("99.99", 0.9999), ("99.999", 0.99999)];

/// Readable on light and on dark ground: the picture brings its own, and goes by the viewer's wish.
const STYLE: &str = "
text { fill: #333333; font: 12px system-ui, sans-serif } .title { font-size: 15px; font-weight: 600 }
.ground { fill: #ffffff } .grid { stroke: #dddddd } .axis { stroke: #888888 } path { fill: none; stroke-width: 2 }
.c0 { stroke: #1f6fb4 } .c1 { stroke: #c4531b } .hiccup { stroke: #777777; stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) {
  text { fill: #d5d8de } .ground { fill: #16181d } .grid { stroke: #343840 } .axis { stroke: #80858f }
  .c0 { stroke: #6cb2f0 } .c1 { stroke: #f0935c } .hiccup { stroke: #a0a4ad }
}
";

/// The report's latencies, and the machine's hiccups at the highest load beside them, as an SVG document.
#[must_use]
pub fn plot(report: &Report) -> String {
    let mut curves: Vec<(String, &'static str, &Percentiles)> = Vec::new();
    for (level, class) in report.latency.iter().zip(["c0", "c1"]) {
        let share = level.share_of_sustained * 100.0;
        let name = format!("{share:.0}% of sustained: {} rows/s", rounded(level.rows_per_second));
        curves.push((name, class, &level.latency_ms));
    }
    if let Some(level) = report.latency.last() {
        let name = "hiccups of the machine meanwhile".to_owned();
        curves.push((name, "hiccup", &level.hiccup_ms));
    }
    let scale = Scale::over(&curves);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"26\">{title}</text>\n",
        title = escaped(&format!("{}: latency by percentile", report.pipeline)),
    );
    let mut add = |part: String| writeln!(svg, "{part}").expect("a string takes everything");
    grid(&scale, &mut add);
    for (index, (name, class, percentiles)) in (0_u8..).zip(&curves) {
        let y = 46.0 + 18.0 * f64::from(index);
        add(format!("<path class=\"{class}\" d=\"M{LEFT} {:.1}h28\"/>", y - 4.0));
        add(format!("<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", LEFT + 36.0, escaped(name)));
        let points = percentiles.curve.iter().map(|(percentile, ms)| scale.point(percentile / 100.0, *ms));
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        if !points.is_empty() {
            add(format!("<path class=\"{class}\" d=\"M{}\"/>", points.join("L")));
        }
    }
    add("</svg>".to_owned());
    svg
}

/// Lines at the percentiles and at powers of ten, with their names.
fn grid(scale: &Scale, add: &mut impl FnMut(String)) {
    for (name, quantile) in PERCENTILES {
        let (x, _) = scale.point(quantile, 1.0);
        add(format!("<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>"));
        add(format!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>", BOTTOM + 18.0));
    }
    for decade in scale.low..=scale.high {
        let ms = 10.0_f64.powi(decade);
        let (_, y) = scale.point(0.5, ms);
        add(format!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>"));
        add(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ms}</text>", LEFT - 8.0, y + 4.0));
    }
    add(format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>"));
    let middle = f64::midpoint(LEFT, RIGHT);
    add(format!(
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">percentile of records</text>",
        BOTTOM + 42.0
    ));
    let middle = f64::midpoint(TOP, BOTTOM);
    add(format!(
        "<text transform=\"translate(22 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">latency, ms</text>"
    ));
}

/// Where a percentile and a time are in the picture.
struct Scale {
    /// The powers of ten, of milliseconds, between which all times are.
    low: i32,
    high: i32,
}

/// A time that is shorter is shown as this, milliseconds: nothing shorter is measured.
const MS_MIN: f64 = 0.001;

impl Scale {
    fn over(curves: &[(String, &'static str, &Percentiles)]) -> Self {
        let times = curves.iter().flat_map(|(_, _, percentiles)| &percentiles.curve).map(|(_, ms)| *ms);
        let (low, high) =
            times.fold((f64::MAX, MS_MIN), |(low, high), ms| (low.min(ms.max(MS_MIN)), high.max(ms)));
        #[expect(clippy::cast_possible_truncation, reason = "powers of ten of a time that was measured")]
        let power = |ms: f64| ms as i32;
        let (low, high) = (power(low.min(high).log10().floor()), power(high.log10().ceil()));
        Self { low, high: high.max(low + 1) }
    }

    fn point(&self, quantile: f64, ms: f64) -> (f64, f64) {
        let nines = |quantile: f64| -(1.0 - quantile).log10();
        let (first, last) = (nines(PERCENTILES[0].1), nines(PERCENTILES[PERCENTILES.len() - 1].1));
        let across = (nines(quantile) - first) / (last - first);
        let up = (ms.max(MS_MIN).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        (LEFT + across * (RIGHT - LEFT), BOTTOM - up * (BOTTOM - TOP))
    }
}

/// A text as it is written in a document.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corners_are_where_they_belong() {
        let scale = Scale { low: -1, high: 2 };
        let check = |quantile: f64, ms: f64, expect: (f64, f64)| {
            let (x, y) = scale.point(quantile, ms);
            assert!((x - expect.0).abs() < 1e-6 && (y - expect.1).abs() < 1e-6, "{quantile} {ms}: {x} {y}");
        };
        check(0.5, 0.1, (LEFT, BOTTOM));
        check(0.99999, 100.0, (RIGHT, TOP));
        check(0.5, 10.0, (LEFT, BOTTOM - (BOTTOM - TOP) * 2.0 / 3.0));
    }
}
