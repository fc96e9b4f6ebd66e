/* SPDX-License-Identifier: MIT */
/*
 * Transcripts of the engine: a text of events and of the actions that must come of them, played to
 * a real engine. No clock, no kernel, no files: what an ioctl returns is part of the text.
 *
 * One line is one turn: the events that are fed, and behind the bar the actions next() must then
 * hand out, in this order and until it has no more. No bar: no action.
 *
 *	event, event | action; action = outcome
 *
 * All numbers are pages of 4 KiB: positions and identities from one base on, offsets from 0.
 *
 * Laying out, before the attach:
 *	on-lost kill                 else poison
 *	requests 256                 that many, else as many as for local sources
 *	no sweep                     nothing runs ahead until "sweep"
 *	stays                        spaces come at any time until "finish"
 *	record 1000                  first touches are noted, for that many us; 0: without end
 *	remote f1                    source 1 is remote: urgent reads of it say so
 *	image 8+4 at f1:20 [2M]      the image holds pages 8..12 in source 1 from page 20 on; "in
 *	                             place" behind it: the bytes are where they are to be mapped;
 *	                             pages of 4 KiB, of 128 ("128K") or of 2 MiB
 *	area 0..16 from 8 [2M]       positions 0..16 are the image's pages from 8 on
 *	attach s0
 * Events:
 *	fault s0 2 [minor]           remove s0 2..4        unmap s0 2..4      remap s0 2..4 to 30
 *	fork s0 s1                   exit s0               start              abandon
 *	got r0 4                     the READ of r0 ended with 4 pages, "4+100": and 100 bytes; "mapped"
 *	                             behind it: they are in no buffer
 *	got r0 eio                   ... or with an error
 *	fetched b0                   the FETCH of block 0 ended
 *	wait 50                      a TICK, that many microseconds later
 *	want 5+2                     the image's pages 5..7 are wanted before all others
 *	sweep                        "no sweep" is over
 *	finish                       "stays" is over
 * Actions:
 *	s0 read r0 2+4               pages 2..6 of source 0; "f1:2+4" of source 1; "r0@3": to page 3
 *	                             of r0's; "bytes" behind it: not from a mapping; "only":
 *	                             from nowhere else
 *	s0 fetch b0 0+512            pages 0..512 of source 0, as block 0
 *	s0 copy r0 2..6              to position 2..6; "r0@3": from page 3 of r0's on
 *	s0 poison r0 2..3            s0 zero 2..3          s0 wake 2..3       s0 wake all
 *	s0 map r0 2..6               what shared memory has there; "s0 map 2..3": for no request
 *	s0 kill                      s0 close              release
 * Outcomes: that many pages, or an error's name, or "none": nothing is fed. Without one all went
 * well, and is fed, but of a read. Behind an outcome, after commas: events that come before the
 * next action. Looking:
 *	owed s0 3                    it is owed three pages that have a position
 *	count pages_lost 1           a figure of struct lazyd_stats
 *	retry 50                     the engine wants the time in 50 us; "never"
 *	recorded 5+2 9+1             the first touches that were noted, in this order; "nothing"
 *	record is over | record is not over
 *	is done | is not done
 */
#ifndef TRANSCRIPT_H
#define TRANSCRIPT_H

/* Plays @text; fails the running libcheck test at the first line that goes another way. */
void transcript_play(const char *text);

#endif
