"use strict";
// Paired comparisons, as slmbench.metrics has them; the page's tests hold both together.
slmbench.stats = (() => {
  const Z95 = 1.959963984540054, RESAMPLES = 2000, SEED = 42;

  // Exact two-sided p of McNemar's test; b and c count the two kinds of discordant pairs. Terms are kept as
  // logarithms: 2 ** -n is no number from 1,075 pairs on.
  function mcnemar(b, c) {
    const n = b + c;
    let term = -n * Math.LN2, sum = Math.exp(term);
    for (let i = 1; i <= Math.min(b, c); i++) {
      term += Math.log((n - i + 1) / i);
      sum += Math.exp(term);
    }
    return Math.min(1, 2 * sum);
  }

  // 95 % interval of (c - b) / n after Agresti and Min (2005): half an observation more in each cell.
  function pairedInterval(b, c, n) {
    const b1 = b + 0.5, c1 = c + 0.5, n1 = n + 2, centre = (c1 - b1) / n1;
    const half = (Z95 * Math.sqrt(b1 + c1 - (c1 - b1) ** 2 / n1)) / n1;
    return [Math.max(-1, centre - half), Math.min(1, centre + half)];
  }

  // Marsaglia's xorshift (2003) with 32 bits: a number in [0, 1) at each call.
  function random(seed) {
    let x = seed | 0;
    return () => {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      return (x >>> 0) / 2 ** 32;
    };
  }

  const share = ([right], n) => right / n;
  const microF1 = ([hits, predicted, gold]) => (2 * hits) / Math.max(predicted + gold, 1);

  // Percentile bootstrap over documents of statistic(b) - statistic(a). `a` and `b` hold a row of counts a document;
  // the statistic is given their sums and the number of documents.
  function bootstrap(a, b, statistic, resamples = RESAMPLES, seed = SEED) {
    const n = a.length, width = a[0].length, next = random(seed), drawn = new Float64Array(resamples);
    const sums = (rows) => rows[0].map((_, column) => rows.reduce((sum, row) => sum + row[column], 0));
    for (let round = 0; round < resamples; round++) {
      const one = new Array(width).fill(0), other = new Array(width).fill(0);
      for (let i = 0; i < n; i++) {
        const at = Math.floor(next() * n);
        for (let column = 0; column < width; column++) {
          one[column] += a[at][column];
          other[column] += b[at][column];
        }
      }
      drawn[round] = statistic(other, n) - statistic(one, n);
    }
    drawn.sort();
    const beyond = Math.min(drawn.filter((d) => d <= 0).length, drawn.filter((d) => d >= 0).length);
    return {
      difference: statistic(sums(b), n) - statistic(sums(a), n),
      low: percentile(drawn, 2.5),
      high: percentile(drawn, 97.5),
      p: Math.min(1, (2 * (beyond + 1)) / (resamples + 1)),
    };
  }

  // With linear interpolation, of values that are sorted.
  function percentile(sorted, q) {
    const place = ((sorted.length - 1) * q) / 100, low = Math.floor(place), high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
  }

  // Two entries of a board: counts of documents, JSONExact and FieldF1 of both, and their differences, b minus a.
  function compare(a, b) {
    const n = a.exact.length, count = (x, y) => a.exact.filter((was, i) => was === x && b.exact[i] === y).length;
    const both = count(1, 1), lost = count(1, 0), gained = count(0, 1), neither = count(0, 0);
    const [low, high] = pairedInterval(lost, gained, n);
    const flags = (entry) => entry.exact.map((one) => [one]);
    const leaves = (entry) => entry.hits.map((hits, i) => [hits, entry.predicted[i], entry.gold[i]]);
    const f1 = (entry) => microF1(leaves(entry).reduce((sum, row) => sum.map((value, i) => value + row[i]), [0, 0, 0]));
    return {
      n, both, lost, gained, neither,
      exact: {a: (both + lost) / n, b: (both + gained) / n, difference: (gained - lost) / n, low, high, p: mcnemar(lost, gained)},
      exactBootstrap: bootstrap(flags(a), flags(b), share),
      f1: {a: f1(a), b: f1(b), ...bootstrap(leaves(a), leaves(b), microF1)},
    };
  }

  return {RESAMPLES, SEED, mcnemar, pairedInterval, random, bootstrap, percentile, share, microF1, compare};
})();
