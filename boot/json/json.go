// Package json writes JSON (RFC 8259) from Go values. encoding/json would add
// 200 KB to the boot binary, most of it for reading, which nothing here does.
// For the types below both write the same.
package json

import (
	"encoding"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Marshal returns v as indented JSON with a newline at the end. It knows
// booleans, numbers, strings, slices, arrays, pointers, structs with `json`
// tags and no others, and what marshals itself as text; anything else is null. Values must
// not lead back to themselves.
func Marshal(v any) []byte { return append(Append(nil, v, "\n"), '\n') }

// Append appends v to b; indent is the line break and the tabs before its lines.
func Append(b []byte, v any, indent string) []byte {
	return appendValue(b, reflect.ValueOf(v), indent)
}

// appendValue appends v; indent is the line break and the tabs before it.
func appendValue(b []byte, v reflect.Value, indent string) []byte {
	if !v.IsValid() {
		return append(b, "null"...)
	}
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return append(b, "null"...)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return append(b, "null"...)
		}
		return appendString(b, string(text))
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return appendValue(b, v.Elem(), indent)
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case reflect.String:
		return appendString(b, v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(b, v.Uint(), 10)
	case reflect.Float64:
		return strconv.AppendFloat(b, v.Float(), 'f', -1, 64)
	case reflect.Slice, reflect.Array:
		return appendList(b, v, indent)
	case reflect.Struct:
		return appendStruct(b, v, indent)
	}
	return append(b, "null"...)
}

// appendList writes a nil slice as [], so that a reader can always range over it.
func appendList(b []byte, v reflect.Value, indent string) []byte {
	if v.Len() == 0 {
		return append(b, "[]"...)
	}
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, indent+"\t"...)
		b = appendValue(b, v.Index(i), indent+"\t")
	}
	return append(append(b, indent...), ']')
}

func appendStruct(b []byte, v reflect.Value, indent string) []byte {
	b = append(b, '{')
	first := true
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, ok := strings.CutPrefix(string(f.Tag), `json:"`) // Tag.Get brings 5 KB
		if !ok || !f.IsExported() {
			continue
		}
		name = strings.TrimSuffix(name, `"`)
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, indent+"\t"...)
		b = append(appendString(b, name), ": "...)
		b = appendValue(b, v.Field(i), indent+"\t")
	}
	return append(append(b, indent...), '}')
}

const hexDigits = "0123456789abcdef"

// appendString escapes what RFC 8259, 7 demands, and what is no UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch c := s[i]; {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}
