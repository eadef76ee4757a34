/* SPDX-License-Identifier: MIT */
/*
 * The printf formatter (vscnprintf and its relatives). Numbers are built backwards in a small
 * buffer; padding goes out in pieces, so that any width works without room for it.
 */
#include "lib/printf.h"

#include <stdbool.h>
#include <stdint.h>

struct spec {
	bool left, plus, space, zero, alt;
	int width, precision; /* precision -1: none given */
	int length;	      /* -2 hh, -1 h, 0 int, 1 l ll z t j */
};

struct out {
	emit_fn emit;
	void *ctx;
};

static void put(const struct out *o, const char *s, size_t n)
{
	if (n)
		o->emit(o->ctx, s, n);
}

static void pad(const struct out *o, char c, int n)
{
	static const char blanks[] = "                ", zeros[] = "0000000000000000";

	for (; n > 0; n -= 16)
		put(o, c == '0' ? zeros : blanks, n < 16 ? (size_t)n : 16);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *parse_flags(const char *f, struct spec *s)
{
	for (;; f++) {
		if (*f == '-')
			s->left = true;
		else if (*f == '+')
			s->plus = true;
		else if (*f == ' ')
			s->space = true;
		else if (*f == '0')
			s->zero = true;
		else if (*f == '#')
			s->alt = true;
		else
			return f;
	}
}

static const char *parse_number(const char *f, int *n, va_list *ap)
{
	if (*f == '*') {
		*n = va_arg(*ap, int);
		return f + 1;
	}
	for (*n = 0; is_digit(*f); f++)
		*n = *n * 10 + (*f - '0');
	return f;
}

static const char *parse_length(const char *f, int *length)
{
	*length = 0;
	for (;; f++) {
		if (*f == 'h')
			(*length)--;
		else if (*f == 'l' || *f == 'z' || *f == 't' || *f == 'j')
			*length = 1;
		else
			return f;
	}
}

static const char *parse(const char *f, struct spec *s, va_list *ap)
{
	*s = (struct spec){.precision = -1};
	f = parse_flags(f, s);
	f = parse_number(f, &s->width, ap);
	if (s->width < 0) {
		s->left = true;
		s->width = -s->width;
	}
	if (*f == '.')
		f = parse_number(f + 1, &s->precision, ap);
	return parse_length(f, &s->length);
}

/* prefix, then digits, in a field of s's width. */
static void put_field(const struct out *o, const struct spec *s, const char *prefix, size_t nprefix,
		      const char *digits, size_t ndigits)
{
	int zeros = s->precision > (int)ndigits ? s->precision - (int)ndigits : 0;
	int fill = s->width - (int)(nprefix + ndigits) - zeros;

	if (s->zero && !s->left && s->precision < 0 && fill > 0) {
		zeros = fill;
		fill = 0;
	}
	if (!s->left)
		pad(o, ' ', fill);
	put(o, prefix, nprefix);
	pad(o, '0', zeros);
	put(o, digits, ndigits);
	if (s->left)
		pad(o, ' ', fill);
}

static void put_unsigned(const struct out *o, const struct spec *s, uint64_t v, unsigned base,
			 const char *prefix, bool upper)
{
	char buf[24], *p = buf + sizeof(buf);
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	size_t n = 0;

	while (prefix[n])
		n++;
	for (; v; v /= base)
		*--p = set[v % base];
	if (p == buf + sizeof(buf) && s->precision != 0)
		*--p = '0';
	if (base == 8 && s->alt && (p == buf + sizeof(buf) || *p != '0'))
		*--p = '0';
	put_field(o, s, prefix, n, p, (size_t)(buf + sizeof(buf) - p));
}

static void put_signed(const struct out *o, const struct spec *s, int64_t v)
{
	const char *prefix = v < 0 ? "-" : s->plus ? "+" : s->space ? " " : "";

	put_unsigned(o, s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, prefix, false);
}

static int64_t arg_signed(const struct spec *s, va_list *ap)
{
	if (s->length > 0)
		return va_arg(*ap, int64_t);
	if (s->length == 0)
		return va_arg(*ap, int);
	return s->length == -1 ? (short)va_arg(*ap, int) : (signed char)va_arg(*ap, int);
}

static uint64_t arg_unsigned(const struct spec *s, va_list *ap)
{
	if (s->length > 0)
		return va_arg(*ap, uint64_t);
	if (s->length == 0)
		return va_arg(*ap, unsigned);
	return s->length == -1 ? (unsigned short)va_arg(*ap, int)
			       : (unsigned char)va_arg(*ap, int);
}

static void put_string(const struct out *o, struct spec *s, const char *str)
{
	size_t n = 0;

	if (!str)
		str = "(null)";
	while ((s->precision < 0 || n < (size_t)s->precision) && str[n])
		n++;
	s->precision = -1;
	s->zero = false;
	put_field(o, s, "", 0, str, n);
}

static void put_pointer(const struct out *o, struct spec *s, const void *p)
{
	put_unsigned(o, s, (uintptr_t)p, 16, "0x", false);
}

/* Prints one conversion; false: c is none we know. */
static bool convert(const struct out *o, struct spec *s, char c, va_list *ap)
{
	uint64_t u;
	char ch;

	switch (c) {
	case 'd':
	case 'i':
		put_signed(o, s, arg_signed(s, ap));
		return true;
	case 'u':
	case 'o':
		put_unsigned(o, s, arg_unsigned(s, ap), c == 'o' ? 8 : 10, "", false);
		return true;
	case 'x':
	case 'X':
		u = arg_unsigned(s, ap);
		put_unsigned(o, s, u, 16, s->alt && u ? (c == 'x' ? "0x" : "0X") : "", c == 'X');
		return true;
	case 'p':
		put_pointer(o, s, va_arg(*ap, void *));
		return true;
	case 's':
		put_string(o, s, va_arg(*ap, const char *));
		return true;
	case 'c':
		ch = (char)va_arg(*ap, int);
		s->zero = false;
		s->precision = -1;
		put_field(o, s, "", 0, &ch, 1);
		return true;
	case '%':
		put(o, "%", 1);
		return true;
	default:
		return false;
	}
}

void vemitf(emit_fn emit, void *ctx, const char *fmt, va_list args)
{
	struct out o = {emit, ctx};
	struct spec s;
	va_list ap;

	va_copy(ap, args);
	while (*fmt) {
		const char *start = fmt;

		while (*fmt && *fmt != '%')
			fmt++;
		put(&o, start, (size_t)(fmt - start));
		if (!*fmt)
			break;
		start = fmt;
		fmt = parse(fmt + 1, &s, &ap);
		if (*fmt && convert(&o, &s, *fmt, &ap)) {
			fmt++;
			continue;
		}
		put(&o, start, (size_t)(fmt - start)); /* not ours: shown as it stands */
	}
	va_end(ap);
}

void emitf(emit_fn emit, void *ctx, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vemitf(emit, ctx, fmt, ap);
	va_end(ap);
}

struct buffer {
	char *p;
	size_t room, used;
};

static void to_buffer(void *ctx, const char *s, size_t n)
{
	struct buffer *b = ctx;

	while (n-- && b->used < b->room)
		b->p[b->used++] = *s++;
}

size_t vscnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct buffer b = {buf, size ? size - 1 : 0, 0};

	vemitf(to_buffer, &b, fmt, ap);
	if (size)
		buf[b.used] = '\0';
	return b.used;
}

size_t scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = vscnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n;
}
