# SPDX-License-Identifier: MIT
# What configure.ac says more than once. A missing dependency is collected, not fatal, so that one
# run names all of them with the Debian packages they are in.

# LZ_MISSING(what, debian package)
AC_DEFUN([LZ_MISSING], [
	AS_VAR_APPEND([lz_missing], [" $1"])
	AS_CASE([" $lz_packages "], [*" $2 "*], [], [AS_VAR_APPEND([lz_packages], [" $2"])])
])

# LZ_NEED_MODULE(variable prefix, pkg-config module, debian package)
AC_DEFUN([LZ_NEED_MODULE], [PKG_CHECK_MODULES([$1], [$2], [], [LZ_MISSING([$2], [$3])])])

# LZ_NEED_PROG(variable, program, debian package)
AC_DEFUN([LZ_NEED_PROG], [
	AC_CHECK_PROG([$1], [$2], [$2])
	AS_IF([test -z "$$1"], [LZ_MISSING([$2], [$3])])
])

# LZ_MISSING_NONE: ends configure with one sentence if anything was missing.
AC_DEFUN([LZ_MISSING_NONE], [
	AS_IF([test -n "$lz_missing"],
	      [AC_MSG_ERROR([not found:$lz_missing. Debian: apt-get install$lz_packages])])
])

# LZ_FLAG(variable, flag): appends the compiler flag to the variable where compiler and linker
# take it without a warning.
AC_DEFUN([LZ_FLAG], [
	AC_MSG_CHECKING([whether $CC takes $2])
	lz_saved_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS -Werror $2"
	AC_LINK_IFELSE([AC_LANG_PROGRAM()], [lz_takes=yes], [lz_takes=no])
	CFLAGS=$lz_saved_CFLAGS
	AC_MSG_RESULT([$lz_takes])
	AS_IF([test $lz_takes = yes], [AS_VAR_APPEND([$1], [" $2"])])
])

# LZ_ENABLE(name, help): --enable-name, off unless asked for; the answer is in $lz_name.
AC_DEFUN([LZ_ENABLE], [
	AC_ARG_ENABLE([$1], [AS_HELP_STRING([--enable-$1], [$2])], [lz_$1=$enableval], [lz_$1=no])
])

# LZ_INSTRUMENT(name, flags): if $lz_name is yes the flags go into INSTRUMENT_CFLAGS, and the
# build fails here rather than later where the compiler cannot.
AC_DEFUN([LZ_INSTRUMENT], [
	AS_IF([test "$lz_$1" = yes], [
		lz_before=$INSTRUMENT_CFLAGS
		LZ_FLAG([INSTRUMENT_CFLAGS], [$2])
		AS_IF([test "$lz_before" = "$INSTRUMENT_CFLAGS"],
		      [AC_MSG_ERROR([--enable-$1: $CC cannot link with $2])])
	])
])
