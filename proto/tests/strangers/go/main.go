// Reads and writes the golden files with Go's protobuf, and as a program that knows only the first two fields.
//
//	stranger DESCRIPTORS GOLDEN_FOLDER OUT_FOLDER
//
// What it writes into OUT_FOLDER is for our side to read. It ends with 0 and "N files" if all agreed.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	newPackage = "isotherm.v1"
	oldPackage = "two.fields"
)

func main() {
	log.SetFlags(0)
	descriptors, golden, out := os.Args[1], os.Args[2], os.Args[3]
	set := &descriptorpb.FileDescriptorSet{}
	must(proto.Unmarshal(read(descriptors), set))
	find := finder(set, newPackage)
	findOld := finder(ofTwoFields(set), oldPackage)

	files, err := filepath.Glob(filepath.Join(golden, "*.bin"))
	must(err)
	for _, file := range files {
		base, name := filepath.Base(file), "TemperatureReading"
		if strings.HasPrefix(base, "upload") {
			name = "TemperatureReadingUpload"
		}
		ours, expected := read(file), read(strings.TrimSuffix(file, ".bin")+".json")
		write(out, "new-"+base, asNew(base, find(name), ours, expected))
		write(out, "old-"+base, asOld(base, findOld(name), ours))
	}
	fmt.Println(len(files), "files")
}

// asNew checks our bytes against the JSON beside them, both ways.
func asNew(base string, kind protoreflect.MessageDescriptor, ours, expected []byte) []byte {
	message := dynamicpb.NewMessage(kind)
	must(proto.Unmarshal(ours, message))
	text, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(message)
	must(err)
	if got, want := plain(text), plain(expected); !reflect.DeepEqual(got, want) {
		log.Fatalf("%s: read as %v", base, got)
	}

	message = dynamicpb.NewMessage(kind)
	must(protojson.Unmarshal(expected, message))
	written, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	must(err)
	if !bytes.Equal(written, ours) {
		log.Fatalf("%s: written as %x", base, written)
	}
	return written
}

// asOld reads our bytes without knowing the newer fields, and writes only what it knows.
func asOld(base string, kind protoreflect.MessageDescriptor, ours []byte) []byte {
	message := dynamicpb.NewMessage(kind)
	must(proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(ours, message))
	written, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	must(err)
	if len(written) == 0 {
		log.Fatalf("%s: nothing was left", base)
	}
	return written
}

// plain is JSON without its ways of writing: 64-bit numbers are text in protobuf's JSON, and numbers in ours.
func plain(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	must(decoder.Decode(&value))
	return numbers("", value)
}

func numbers(name string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, each := range value {
			value[name] = numbers(name, each)
		}
	case []any:
		for index, each := range value {
			value[index] = numbers(name, each)
		}
	case json.Number:
		if name == "sequence" {
			return value.String()
		}
		number, err := strconv.ParseFloat(value.String(), 32)
		must(err)
		return number
	}
	return value
}

// ofTwoFields gives the same files as they were when each message had two fields.
func ofTwoFields(set *descriptorpb.FileDescriptorSet) *descriptorpb.FileDescriptorSet {
	old := proto.Clone(set).(*descriptorpb.FileDescriptorSet)
	for _, file := range old.File {
		file.Package = proto.String(oldPackage)
		for _, message := range file.MessageType {
			var kept []*descriptorpb.FieldDescriptorProto
			for _, field := range message.Field {
				if field.GetNumber() > 2 {
					continue
				}
				if field.TypeName != nil {
					field.TypeName = proto.String(strings.Replace(field.GetTypeName(), newPackage, oldPackage, 1))
				}
				kept = append(kept, field)
			}
			message.Field = kept
		}
	}
	return old
}

func finder(set *descriptorpb.FileDescriptorSet, in string) func(string) protoreflect.MessageDescriptor {
	files, err := protodesc.NewFiles(set)
	must(err)
	return func(name string) protoreflect.MessageDescriptor {
		found, err := files.FindDescriptorByName(protoreflect.FullName(in + "." + name))
		must(err)
		return found.(protoreflect.MessageDescriptor)
	}
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	must(err)
	return content
}

func write(folder, name string, content []byte) {
	must(os.WriteFile(filepath.Join(folder, name), content, 0o600))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
