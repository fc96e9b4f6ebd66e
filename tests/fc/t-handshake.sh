#!/bin/bash
# SPDX-License-Identifier: MIT
# Whatever a VM says: the body of each version of Firecracker, regions in any order, more descriptors than one, a message
# in pieces; and what no Firecracker says. Each row is one VM at one daemon, which goes on serving all others: a VM that
# was right before a bad one and after it. Who is refused is killed if it has given its userfaultfd away, with one
# sentence, and never left to wait.
# shellcheck source-path=SCRIPTDIR source=lib-fc.sh
. "${0%/*}/lib-fc.sh"

MIB=32
TRUTH=$DIR/memory
"$PEER" base "$TRUTH" $MIB 1 || fail "no memory file"
nr_full=0
nr_refused=0

# good NAME ARGUMENT...
good() {
	ROW=$1
	shift
	vm_ok "$@"
	nr_full=$((nr_full + 1))
	[ "$(count event=vm-arrived)" = $nr_full ] || fail "not arrived once"
}

# refused NAME killed|away SENTENCE ARGUMENT...
refused() {
	local how=$2 sentence=$3 status
	ROW=$1
	shift 3
	vm --quiet "$@"
	status=$?
	if [ "$how" = killed ]; then
		[ $status = 137 ] || fail "status $status, and not killed"
		says "event=vm-refused pid=[0-9]* killed: $sentence"
	else
		says "event=vm-refused pid=[0-9]* turned away: $sentence"
	fi
	nr_refused=$((nr_refused + 1))
	[ "$(count event=vm-refused)" = $nr_refused ] || fail "not refused once"
}

fill --memory "$TRUTH"

# ---- what versions say ----

for api in 1.1 1.7 1.12; do
	good "version $api" --api $api
	good "version $api, closed at once" --api $api --leave
done
good "two regions, the second lower" --layout 0+24,24+8
good "two regions, the later bytes first" --layout 24+8,0+24
good "eight regions in disorder" --layout 12+4,0+4,28+4,4+4,20+4,8+4,24+4,16+4
good "half of the file" --layout 8+16
good "a memfd beside" --extra 1
good "twenty descriptors" --extra 20
good "a message in three pieces" --pieces 40
good "a message byte by byte" --pieces 1
good "keys of the future" \
	--body '[{"base_host_virt_addr":@0,"size":33554432,"offset":0,"page_size":4096,"flags":{"a":[1,null]}}]'
good "white space" --body '
	[ { "offset" : 0 , "size" : 33554432 , "base_host_virt_addr" : @0 } ]
'

# ---- what none says ----

area='"size":33554432,"offset":0'
refused "no JSON" killed "it is no JSON" --body 'hello'
refused "no array" killed "it is no array" --body '{"base_host_virt_addr":1}'
refused "nothing in it" killed "0 regions" --body '[]'
refused "no object" killed "region 0 is no object" --body '[1]'
refused "no address" killed "region 0 has no base_host_virt_addr" --body "[{$area}]"
refused "no size" killed "region 0 has no size" --body '[{"base_host_virt_addr":@0,"offset":0}]'
refused "no offset" killed "region 0 has no offset" --body '[{"base_host_virt_addr":@0,"size":33554432}]'
refused "a size that is text" killed "region 0: size is not a number" \
	--body '[{"base_host_virt_addr":@0,"size":"33554432","offset":0}]'
refused "a size below 0" killed "region 0: size is not a number" \
	--body '[{"base_host_virt_addr":@0,"size":-4096,"offset":0}]'
refused "a size of nothing" killed "region 0 is not whole pages" \
	--body '[{"base_host_virt_addr":@0,"size":0,"offset":0}]'
refused "half a page" killed "region 0 is not whole pages of 4096" \
	--body '[{"base_host_virt_addr":@0,"size":33552384,"offset":0}]'
refused "an odd offset" killed "region 0 is not whole pages of 4096" \
	--body '[{"base_host_virt_addr":@0,"size":4096,"offset":1}]'
refused "more than the file" killed "region 0: bytes 0 to 33558528 of a memory file that has 33554432" \
	--body '[{"base_host_virt_addr":@0,"size":33558528,"offset":0}]'
refused "behind the file" killed "region 0: bytes 33554432 to" \
	--body '[{"base_host_virt_addr":@0,"size":4096,"offset":33554432}]'
refused "an end beyond all numbers" killed "region 0: bytes" \
	--body '[{"base_host_virt_addr":@0,"size":8192,"offset":9223372036854771712}]'
refused "an address in the kernel" killed "region 0 is not in the address space" \
	--body "[{\"base_host_virt_addr\":9223372036854771712,$area}]"
refused "address 0" killed "region 0 is not in the address space" --body "[{\"base_host_virt_addr\":0,$area}]"
refused "the same memory twice" killed "regions 0 and 1 overlap in memory" --layout 0+16,16+16 \
	--body '[{"base_host_virt_addr":@0,"size":8192,"offset":0},{"base_host_virt_addr":@0,"size":4096,"offset":8192}]'
refused "the same bytes twice" killed "regions 0 and 1 overlap in the file" --layout 0+16,16+16 \
	--body '[{"base_host_virt_addr":@0,"size":8192,"offset":0},{"base_host_virt_addr":@1,"size":4096,"offset":4096}]'
refused "pages of 16 KiB" killed "region 0: pages of 16384 bytes" --body "[{\"base_host_virt_addr\":@0,$area,\"page_size\":16384}]"
refused "pages of two sizes" killed "region 1: pages of another size" --layout 0+16,16+16 \
	--body '[{"base_host_virt_addr":@0,"size":16777216,"offset":0},{"base_host_virt_addr":@1,"size":16777216,"offset":16777216,"page_size":2097152}]'
refused "the same key twice" killed "it is no JSON" --body "[{\"base_host_virt_addr\":@0,$area,\"offset\":0}]"
refused "something behind it" killed "it is no JSON" --body "[{\"base_host_virt_addr\":@0,$area}]x"
many=$(printf '{"base_host_virt_addr":%d,"size":4096,"offset":0},' $(seq 1048576 8192 1638400))
refused "sixty-five regions and more" killed "73 regions" --body "[${many%,}]"
refused "an endless message" killed "it is longer than 16384 bytes" --body "[\"$(printf '%020000d' 0)"
refused "a message deep inside" killed "it is no JSON" --body "$(printf '%03000d' 0 | tr 0 '[')"
refused "no descriptor" away "no userfaultfd came" --give none
refused "another descriptor" killed "what came is no userfaultfd in use" --give memfd
refused "a userfaultfd that has no API yet" killed "what came is no userfaultfd in use" --give unready
refused "half a message and no more" killed "it hung up in the midst" --body "[{\"base_host_virt_addr\":@0," --leave

ROW="a word and nothing else"

/usr/bin/python3 -c "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])" "$SOCKET" ||
	fail "nobody listens"
says "event=no-vm pid=[0-9]* it hung up without a word"

good "after all of them"
fill_stops 0
served $nr_full
[ "$(figure vms_refused)" = $nr_refused ] || fail "the statistics have $(figure vms_refused) VMs refused, not $nr_refused"
echo "ok full=$nr_full refused=$nr_refused"
