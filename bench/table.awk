# SPDX-License-Identifier: MIT
# awk -f figures.awk -f table.awk rows bench.txt: the tables that rows describes, and those of single figures.

function trimmed(text) {
	gsub(/^ +| +$/, "", text)
	return text
}

function judged(ratio, wanted,   bound) {
	if (wanted == "-")
		return ""
	bound = wanted
	sub(/^[<>=]+ */, "", bound)
	if (ratio == "")
		return wanted
	return wanted (wanted ~ /^</ ? (ratio <= bound + 0 ? ", met" : ", missed") : (ratio >= bound + 0 ? ", met" : ", missed"))
}

# Nothing is said about what was not measured.
function row(text,   part, other, own, ratio, both) {
	split(text, part, "|")
	both = part[7] " "
	other = median(both part[8], trimmed(part[6]))
	own = median(both part[9], trimmed(part[6]))
	if (own == "")
		return
	if (title != "") {
		printf "\n%s\n\n| | expected | beside | lazyd | ratio | wanted |\n|---|---|---|---|---|---|\n", title
		title = ""
	}
	ratio = other == "" || other == 0 ? "" : own / other
	printf "| %s | %s | %s%s | %s | %s | %s |\n", trimmed(part[1]), trimmed(part[2]), other == "" ? "" : shown(other / part[5]) " ", \
		other == "" ? "-" : trimmed(part[3]), shown(own / part[5]), ratio == "" ? "-" : sprintf("%.2f", ratio), \
		judged(ratio, trimmed(part[4]))
}

function memory(   i, fields, what, phase, who, printed) {
	for (i = 0; i < 8; i++) {
		what = i < 4 ? "sparse" : "ranges"
		phase = i % 4 < 2 ? "touched" : "filling"
		who = i % 2 ? "worker" : "keeper"
		fields = "name=memory case=" what " phase=" phase " who=" who
		if (median(fields, "vmhwm_kb") == "")
			continue
		if (!printed++)
			print "\n| `lazyd fill`, MiB | peak RSS | anonymous | shared state | mapped files |\n|---|---|---|---|---|"
		printf "| %s, %s, %s | %s | %s | %s | %s |\n", what, phase, who, shown(median(fields, "vmhwm_kb") / 1024), \
			shown(median(fields, "rssanon_kb") / 1024), shown(median(fields, "rssshmem_kb") / 1024), \
			shown(median(fields, "rssfile_kb") / 1024)
	}
}

function micro(   l, name, names, nr, text, i) {
	for (l = 1; l <= nr_lines; l++) {
		if (!((l, "ns_per_op") in field))
			continue
		name = field[l, "name"]
		if (!(name in text))
			names[++nr] = name
		text[name] = text[name] " " field[l, "ns_per_op"] " |"
	}
	if (nr)
		print "\n| ns a operation | 10^3 | 10^4 | 10^5 | 10^6 |\n|---|---|---|---|---|"
	for (i = 1; i <= nr; i++)
		print "| " names[i] " |" text[names[i]]
}

FNR == 1 { file++ }
file == 1 && !/^(#|$)/ { rows[++nr_rows] = $0 }
file == 2 && /^name=machine/ { machine = $0 }
file == 2 && /^name=failed/ { failed = failed "\n" $0 }
file == 2 && /^name=/ { keep($0) }

END {
	print machine failed
	for (i = 1; i <= nr_rows; i++) {
		if (sub(/^== /, "", rows[i]))
			title = rows[i]
		else
			row(rows[i])
	}
	memory()
	micro()
}
