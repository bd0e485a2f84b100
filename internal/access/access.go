// Package access says who a request of the private address comes from, and what that
// user may do: logins by an OpenID provider, tokens of machines, the header of an
// authenticating proxy, sessions, and the table of actions and roles.
package access

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Role is a set of actions that a group of people, or a token, is given.
type Role string

const (
	// Viewer sees everything and changes nothing.
	Viewer Role = "viewer"
	// Operator may also repeat, stop and resolve what Gatewright does.
	Operator Role = "operator"
	// Approver sees everything and decides checkpoints. Who may decide a release that a rule
	// holds is said by the groups of that rule.
	Approver Role = "approver"
	// Admin may do everything except what takes a person.
	Admin Role = "admin"
)

// Roles are all roles, from the least to the most.
func Roles() []Role { return []Role{Viewer, Operator, Approver, Admin} }

// User is whom a request comes from.
type User struct {
	// Name is for display; Actor is what actions are kept with.
	Name string
	// Person is the name of the entry of people, empty for none. Only a person decides held releases.
	Person string
	// Identity is what proved the user, such as "oidc:SUBJECT", "proxy:NAME", "token:NAME" or "local".
	Identity string
	// Via is how the request came: page or api.
	Via   string
	Roles []Role
	// Claims are the groups that the OpenID provider or the proxy named at ClaimsAt; zero where neither did.
	Claims   []string
	ClaimsAt time.Time
	// Token is the name of the machine token, empty for a person.
	Token string
}

// How a request came.
const (
	ViaPage = "page"
	ViaAPI  = "api"
)

// Action is something that a user may do or not.
type Action string

// The actions.
const (
	// ActionView reads records, lists and rules.
	ActionView Action = "view"
	// ActionAudit reads the audit log, which names people and machines.
	ActionAudit Action = "audit"
	// ActionPayload reads the raw payload of a delivery.
	ActionPayload Action = "payload"

	ActionReplay  Action = "replay"
	ActionRerun   Action = "rerun"
	ActionStop    Action = "stop"
	ActionResolve Action = "resolve"
	// ActionOK vouches for the commit of a merge request from a fork.
	ActionOK Action = "ok"
	// The actions on the execution of a release.
	ActionPipelineRetry    Action = "pipeline_retry"
	ActionPipelineContinue Action = "pipeline_continue"
	ActionPipelineRollback Action = "pipeline_rollback"
	ActionPipelineStop     Action = "pipeline_stop"

	// ActionApprove and ActionRefuse decide a checkpoint that no rule holds.
	ActionApprove Action = "approve"
	ActionRefuse  Action = "refuse"

	// ActionApproveHeld and ActionRefuseHeld decide a release that a rule holds;
	// ActionBreakGlass opens its window and its freeze. The rules say who may.
	ActionApproveHeld Action = "approve_held"
	ActionRefuseHeld  Action = "refuse_held"
	ActionBreakGlass  Action = "break_glass"
)

// permission says who may do one action.
type permission struct {
	action Action
	roles  []Role
	// human: no machine may. person: only an entry of people may. known: nobody who is not logged in may, whatever is public.
	human, person, known bool
}

var (
	everyone  = []Role{Viewer, Operator, Approver, Admin}
	operators = []Role{Operator, Admin}
	approvers = []Role{Approver, Admin}
)

// permissions is the table of actions and roles. What is not in it is denied.
var permissions = []permission{
	{action: ActionView, roles: everyone},
	{action: ActionAudit, roles: everyone, known: true},
	{action: ActionPayload, roles: operators},

	{action: ActionReplay, roles: operators},
	{action: ActionRerun, roles: operators},
	{action: ActionStop, roles: operators},
	{action: ActionResolve, roles: operators},
	{action: ActionOK, roles: operators, human: true},
	{action: ActionPipelineRetry, roles: operators},
	{action: ActionPipelineContinue, roles: operators},
	{action: ActionPipelineRollback, roles: operators},
	{action: ActionPipelineStop, roles: operators},

	{action: ActionApprove, roles: approvers, human: true},
	{action: ActionRefuse, roles: approvers, human: true},

	{action: ActionApproveHeld, roles: everyone, human: true, person: true},
	{action: ActionRefuseHeld, roles: everyone, human: true, person: true},
	{action: ActionBreakGlass, roles: everyone, human: true, person: true},
}

// Actions are all actions of the table.
func Actions() (actions []Action) {
	for _, p := range permissions {
		actions = append(actions, p.action)
	}
	return actions
}

// May reports whether the user may do an action; false for one that the table does not have.
func (u User) May(action Action) bool {
	i := slices.IndexFunc(permissions, func(p permission) bool { return p.action == action })
	if i < 0 {
		return false
	}
	p := permissions[i]
	if p.human && u.Token != "" || p.person && u.Person == "" || p.known && u.Identity == "" {
		return false
	}
	return slices.ContainsFunc(u.Roles, func(r Role) bool { return slices.Contains(p.roles, r) })
}

// Actor is how the user is kept with what they do: by the name of the server file where they have an
// entry of people, and otherwise by what proved them, because people choose the names of logins themselves.
func (u User) Actor() string {
	switch {
	case u.Token != "":
		return "token " + u.Token
	case u.Person != "":
		return u.Person
	case u.Name == "" || u.Name == u.Identity:
		return u.Identity
	}
	return u.Name + " (" + u.Identity + ")"
}

// Order is an action on one record that a user asks for.
type Order struct {
	Action Action
	// Kind is run, release or delivery, and ID that of the record, in full.
	Kind, ID string
	// Commit is the full commit that a decision of a held release is about; otherwise empty.
	Commit string
	// Reason is mandatory.
	Reason string
	// Task is the checkpoint, where several wait.
	Task string
	// As is succeeded or failed, for ActionResolve.
	As string
	// IfMatch is the version that the record must have, as store.Tx.VersionOf gives it; empty: any.
	IfMatch string
}

// Result is what came of an order: the ids of the action that was noted, and of the records that
// are new or were changed by it, or that it is about.
type Result struct {
	Action                     string
	Runs, Releases, Deliveries []string
}

// Orders carries orders out. Its errors are ErrForbidden, ErrNotFound and ErrStale, an
// InvalidError for an order that is not complete, a ConflictError for one that cannot be carried
// out now, and others for what failed.
type Orders interface {
	Do(ctx context.Context, u User, o Order) (Result, error)
}

var (
	// ErrForbidden: the user may not do that.
	ErrForbidden = errors.New("you may not do this: ask whoever gives the roles of gatewright")
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("there is no such record: it may have been removed after store.retention")
	// ErrStale: the record has another version than IfMatch.
	ErrStale = errors.New("the record has changed since you read it: read it again and decide then")
)

// ConflictError says why an order cannot be carried out now, in words for the user.
type ConflictError struct{ Message string }

func (e ConflictError) Error() string { return e.Message }

// InvalidError says what an order lacks, in words for the user.
type InvalidError struct{ Message string }

func (e InvalidError) Error() string { return e.Message }
