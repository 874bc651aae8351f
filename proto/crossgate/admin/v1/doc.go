// Package adminv1 is the generated Go of admin.proto: the messages of the admin listener's API, which package gateway
// serves as JSON.
package adminv1
