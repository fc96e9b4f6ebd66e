# SPDX-License-Identifier: MIT
# Read by the scripts of awk here: lines of results, and medians over those that are meant.

# Keeps a line of `name=... key=value ...`.
function keep(line,   word, kv, n, i) {
	n = split(line, word, " ")
	nr_lines++
	for (i = 1; i <= n; i++)
		if (split(word[i], kv, "=") == 2)
			field[nr_lines, kv[1]] = kv[2]
}

# The median of @metric over the lines that have all of @fields ("key=value key=value"); "" if there is none.
function median(fields, metric,   word, key, want, n, i, l, k, x, v, nr) {
	n = split(fields, word, " ")
	for (i = 1; i <= n; i++) {
		key[i] = want[i] = word[i]
		sub(/=.*/, "", key[i])
		sub(/[^=]*=/, "", want[i])
	}
	for (l = 1; l <= nr_lines; l++) {
		if (!((l, metric) in field))
			continue
		for (i = 1; i <= n && field[l, key[i]] == want[i]; i++)
			continue
		if (i <= n)
			continue
		x = field[l, metric] + 0
		for (k = nr++; k && v[k] > x; k--)
			v[k + 1] = v[k]
		v[k + 1] = x
	}
	return nr ? v[int((nr + 1) / 2)] : ""
}

# A number as one reads it.
function shown(x) { return x == "" ? "-" : sprintf(x == 0 || x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : x >= 0.1 ? "%.2f" : "%.3f", x) }
