# SPDX-License-Identifier: MIT
# awk -v dir=DIR -f figures.awk -f picture.awk pictures bench.txt: the pictures that the first describes, as DIR/*.svg.

function trimmed(text) {
	gsub(/^ +| +$/, "", text)
	return text
}

function escaped(text) {
	gsub(/&/, "\\&amp;", text)
	gsub(/</, "\\&lt;", text)
	return text
}

function text_at(x, y, size, anchor, text) {
	printf "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\">%s</text>\n", x, y, size, anchor, \
		escaped(text) >svg
}

function box(x, y, w, h, colour) {
	printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, w, h, colour >svg
}

# A place may name the metric, for pictures in which it is not everywhere the same.
function value_of(place, series,   fields, metric) {
	metric = series_metric[series]
	fields = all_fields " " place_fields[place] " " series_fields[series]
	if (match(fields, /metric=[^ ]+/)) {
		metric = substr(fields, RSTART + 7, RLENGTH - 7)
		sub(/metric=[^ ]+/, "", fields)
	}
	return median(fields, metric)
}

function level(v) { return bottom - (log(v) / log(10) - low) / (high - low) * (bottom - top) }

# What is there, in the order of the description: places and series that have a value, and the decades they are in.
function gather(   p, s, v, any) {
	nr_shown_places = nr_shown_series = 0
	low = 99
	high = -99
	delete value
	delete has_series
	for (p = 1; p <= nr_places; p++) {
		any = 0
		for (s = 1; s <= nr_series; s++) {
			v = value_of(p, s)
			if (v == "" || v <= 0)
				continue
			v /= divisor
			value[p, s] = v
			any = has_series[s] = 1
			v = log(v) / log(10)
			low = v < low ? v : low
			high = v > high ? v : high
		}
		if (any)
			shown_place[++nr_shown_places] = p
	}
	for (s = 1; s <= nr_series; s++)
		if (s in has_series)
			shown_series[++nr_shown_series] = s
	# Half a decade of bar below the lowest, room for its figure above the highest.
	low = floor(low - 0.3)
	high = high + 0.15
}

function floor(x) { return x < int(x) ? int(x) - 1 : int(x) }

function draw(   p, s, v, x, y, group, bar, d) {
	gather()
	if (!nr_shown_places)
		return
	width = 760
	left = 56
	top = 64
	bottom = 300
	svg = dir "/" name ".svg"
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" fill=\"#222\">\n", \
		width, bottom + 64 >svg
	box(0, 0, width, bottom + 64, "#fff")
	text_at(left, 24, 15, "start", title)
	x = left
	for (s = 1; s <= nr_shown_series; s++) {
		box(x, 36, 10, 10, colour[shown_series[s]])
		text_at(x + 14, 45, 11, "start", series_label[shown_series[s]])
		x += 30 + 6.5 * length(series_label[shown_series[s]])
	}
	for (d = low; d <= high; d++) {
		y = level(10 ^ d)
		box(left, y, width - left - 16, 0.5, "#ccc")
		text_at(left - 6, y + 4, 11, "end", d < 0 ? sprintf("%g", 10 ^ d) : sprintf("%d", 10 ^ d))
	}
	group = (width - left - 16) / nr_shown_places
	bar = group * 0.8 / nr_shown_series
	bar = bar > 48 ? 48 : bar
	for (p = 1; p <= nr_shown_places; p++) {
		x = left + group * (p - 0.5) - bar * nr_shown_series / 2
		text_at(left + group * (p - 0.5), bottom + 18, 11, "middle", place_label[shown_place[p]])
		for (s = 1; s <= nr_shown_series; s++) {
			if ((shown_place[p], shown_series[s]) in value) {
				v = value[shown_place[p], shown_series[s]]
				y = level(v)
				box(x, y, bar - 2, bottom - y, colour[shown_series[s]])
				text_at(x + bar / 2 - 1, y - 3, 9, "middle", shown(v))
			}
			x += bar
		}
	}
	box(left, bottom, width - left - 16, 1, "#222")
	text_at(left, bottom + 38, 9, "start", machine)
	text_at(left, bottom + 51, 9, "start", "Medians of all rounds; bench/run " command ", lazyd " commit)
	print "</svg>" >svg
	close(svg)
	print "picture " svg
}

function begin_picture(text,   part) {
	split(text, part, "|")
	name = trimmed(part[1])
	title = trimmed(part[2])
	divisor = part[3] + 0
	all_fields = part[4]
	nr_places = nr_series = 0
}

function line(text,   part) {
	if (sub(/^== /, "", text)) {
		if (name != "")
			draw()
		begin_picture(text)
	} else if (sub(/^at /, "", text)) {
		split(text, part, "|")
		place_label[++nr_places] = trimmed(part[1])
		place_fields[nr_places] = part[2]
	} else if (sub(/^of /, "", text)) {
		split(text, part, "|")
		series_label[++nr_series] = trimmed(part[1])
		colour[nr_series] = trimmed(part[2])
		series_metric[nr_series] = trimmed(part[3])
		series_fields[nr_series] = part[4]
	}
}

# key="value with blanks" of the machine's line.
function quoted(text, key) {
	if (!match(text, " " key "=\"[^\"]*\""))
		return ""
	return substr(text, RSTART + length(key) + 3, RLENGTH - length(key) - 4)
}

# A file that was added to has several.
function add_parts(text,   part, n, i) {
	n = split(text, part, " ")
	for (i = 1; i <= n; i++)
		if (!(part[i] in parts)) {
			parts[part[i]]
			command = command (command == "" ? "" : " ") part[i]
		}
}

FNR == 1 { file++ }
file == 1 && !/^(#|$)/ { lines[++nr] = $0 }
file == 2 && /^name=machine/ {
	match($0, /kernel=[^ ]+/)
	machine = "Linux " substr($0, RSTART + 7, RLENGTH - 7)
	match($0, /cpus=[^ ]+/)
	machine = machine ", " substr($0, RSTART + 5, RLENGTH - 5) " CPUs, " quoted($0, "model") ", " quoted($0, "memory")
	add_parts(quoted($0, "parts"))
	commit = quoted($0, "lazyd")
}
file == 2 && /^name=/ { keep($0) }

END {
	for (i = 1; i <= nr; i++)
		line(lines[i])
	draw()
}
